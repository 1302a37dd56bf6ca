//! The derivatives of softmax and of its logarithm, from their results y. Half types are computed in
//! float32.

use std::mem::MaybeUninit;

use candle_core::{D, Result, Tensor};

use crate::cpu::parallel;
use crate::cpu::simd::math::exp;
use crate::cpu::simd::vectorized;
use crate::differentiable::{Backward, Gradients};
use crate::elements::{Elements, filled_tensor};
use crate::elementwise::Binary;
use crate::half_precision::{round, widen};

/// y · (g − Σ g·y)
pub fn of_softmax(back: &Backward) -> Result<Gradients> {
    gradients(back, softmax_row, |y, g| {
        let sum = Binary::Mul.apply(y, g)?.sum_keepdim(D::Minus1)?;
        Binary::Mul.apply(y, &Binary::Sub.apply(g, &sum)?)
    })
}

/// g − e^y · Σ g
pub fn of_log_softmax(back: &Backward) -> Result<Gradients> {
    gradients(back, log_softmax_row, |y, g| {
        let sum = g.sum_keepdim(D::Minus1)?;
        Binary::Sub.apply(g, &Binary::Mul.apply(&y.exp()?, &sum)?)
    })
}

/// By `row` for each row if the loops take the tensors, else by `whole`.
fn gradients(
    back: &Backward,
    row: fn(&mut [MaybeUninit<f32>], &[f32], &[f32]),
    whole: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Gradients> {
    let of_x = || {
        let (y, g) = (widen(&back.output)?, widen(back.gradient)?);
        let of_x = by_rows(&y, &g, row).unwrap_or_else(|| whole(&y, &g))?;
        round(&of_x, back.output.dtype())
    };
    Ok(vec![back.of(0, of_x)?])
}

fn by_rows(
    y: &Tensor,
    g: &Tensor,
    write: fn(&mut [MaybeUninit<f32>], &[f32], &[f32]),
) -> Option<Result<Tensor>> {
    let &width = y.dims().last()?;
    let (results, given) = (Elements::<f32>::contiguous(y)?, Elements::<f32>::contiguous(g)?);
    let (results, given) = (&*results, &*given);
    let fill = |out: &mut [MaybeUninit<f32>]| {
        parallel::rows(out, width, width, |row, out| {
            let at = row * width..(row + 1) * width;
            write(out, &results[at.clone()], &given[at]);
        });
    };
    // SAFETY: the rows cover the output, and `write` writes all of a row, since those of y and g have
    // its length.
    Some(unsafe { filled_tensor(y.shape().clone(), fill) })
}

/// Independent sums, so that an addition need not wait for the one before.
const LANES: usize = 16;

vectorized! {
    /// Writes all of `out`, if the other slices are as long.
    fn softmax_row(out: &mut [MaybeUninit<f32>], y: &[f32], g: &[f32]) {
        let mut sums = [0f64; LANES];
        let ((y_whole, y_rest), (g_whole, g_rest)) =
            (y.as_chunks::<LANES>(), g.as_chunks::<LANES>());
        for (y, g) in y_whole.iter().zip(g_whole) {
            for lane in 0..LANES {
                sums[lane] += f64::from(y[lane] * g[lane]);
            }
        }
        let rest: f64 = y_rest.iter().zip(g_rest).map(|(y, g)| f64::from(y * g)).sum();
        let sum = (sums.iter().sum::<f64>() + rest) as f32;
        for ((out, y), g) in out.iter_mut().zip(y).zip(g) {
            out.write(y * (g - sum));
        }
    }
}

vectorized! {
    /// As [`softmax_row`].
    fn log_softmax_row(out: &mut [MaybeUninit<f32>], y: &[f32], g: &[f32]) {
        let mut sums = [0f64; LANES];
        let (whole, rest) = g.as_chunks::<LANES>();
        for g in whole {
            for lane in 0..LANES {
                sums[lane] += f64::from(g[lane]);
            }
        }
        let rest: f64 = rest.iter().map(|&g| f64::from(g)).sum();
        let sum = (sums.iter().sum::<f64>() + rest) as f32;
        for ((out, &y), g) in out.iter_mut().zip(y).zip(g) {
            out.write(g - exp::<FUSED>(y) * sum);
        }
    }
}
