//! The derivatives of products. Half types are computed in float32.

use candle_core::{D, Result, Tensor};

use super::plain_matmul;
use crate::cpu::parallel;
use crate::cpu::sgemm::Sums;
use crate::differentiable::{Backward, Gradients};
use crate::elements::Elements;
use crate::half_precision::{round, widen};
use crate::sum::sum_of_rows;

/// Of x [.., in] · weight [out, in]ᵀ + bias \[out\], with regard to x, weight and bias.
pub fn of_linear(back: &Backward) -> Result<Gradients> {
    let (x, weight) = (&back.inputs[0], &back.inputs[1]);
    let (out, input) = weight.dims2()?;
    let rows = x.dims().iter().rev().skip(1).product::<usize>();
    let mut g = widen(back.gradient)?.reshape((rows, out))?;
    let mut read = widen(x)?.reshape((rows, input))?;
    // A metric of a few tokens' logits has a gradient of zeros for all other tokens.
    let used = used_rows(&g);
    if let Some(used) = &used {
        (g, read) = (g.index_select(used, 0)?, read.index_select(used, 0)?);
    }
    let of_x = || -> Result<Tensor> {
        let of_rows = matmul(&g, &widen(weight)?, 1.0)?;
        let of_rows = match &used {
            None => of_rows,
            Some(used) => {
                let zeros = Tensor::zeros((rows, input), g.dtype(), g.device())?;
                zeros.index_add(used, &of_rows, 0)?
            }
        };
        round(&of_rows.reshape(x.shape())?, x.dtype())
    };
    let mut gradients = vec![
        back.of(0, of_x)?,
        back.of(1, || round(&matmul(&g.t()?, &read, 1.0)?, weight.dtype()))?,
    ];
    if let Some(bias) = back.inputs.get(2) {
        gradients.push(back.of(2, || sum_of_rows(&g)?.to_dtype(bias.dtype()))?);
    }
    Ok(gradients)
}

/// Of `scale` · a [.., m, k] · b [.., k, n], with regard to a and b.
pub fn of_matmul(back: &Backward, scale: f64) -> Result<Gradients> {
    let (a, b) = (&back.inputs[0], &back.inputs[1]);
    let g = widen(back.gradient)?;
    let turned = |t: &Tensor| widen(t)?.transpose(D::Minus2, D::Minus1);
    Ok(vec![
        back.of(0, || round(&matmul(&g, &turned(b)?, scale)?, a.dtype()))?,
        back.of(1, || round(&matmul(&turned(a)?, &g, scale)?, b.dtype()))?,
    ])
}

/// As [`super::matmul`], of tensors outside of any graph.
fn matmul(a: &Tensor, b: &Tensor, scale: f64) -> Result<Tensor> {
    plain_matmul(a, b, scale, Sums::Long)
}

/// The indices of the rows [rows, width] that are not all zeros, if there are some and they are at
/// most half of the rows.
fn used_rows(g: &Tensor) -> Option<Tensor> {
    let &[rows, width] = g.dims() else { return None };
    let given = Elements::<f32>::contiguous(g)?;
    let given = &*given;
    let mut used = vec![false; rows];
    parallel::rows(&mut used, 1, width, |row, used| {
        used[0] = given[row * width..][..width].chunks(BLOCK).any(|block| !all_zeros(block));
    });
    let used: Vec<u32> = (0..).zip(used).filter(|(_, used)| *used).map(|(row, _)| row).collect();
    let few = !used.is_empty() && used.len() <= rows / 2;
    few.then(|| Tensor::new(used, g.device()).ok()).flatten()
}

/// Elements that are looked at before it is asked whether they are zeros.
const BLOCK: usize = 256;

fn all_zeros(block: &[f32]) -> bool {
    // Without the sign, so that −0 is 0.
    block.iter().fold(0, |bits, x| bits | (x.to_bits() << 1)) == 0
}
