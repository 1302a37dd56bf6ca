//! Rotary position embeddings (Su et al. 2021): pairs of a head's dimensions turn by given angles.

use std::mem::MaybeUninit;

use candle_core::{D, Result, Tensor};
use candle_nn::rotary_emb;

use super::cpu::parallel;
use super::cpu::simd::vectorized;
use super::differentiable::differentiable;
use super::elements::{Elements, filled_tensor, fits_fused};
use super::elementwise::Binary::{Add, Mul, Sub};
use super::elementwise::neg;

/// Which dimensions turn together, of the r that turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairs {
    /// i with i + r/2
    Halves,
    /// 2i with 2i + 1
    Neighbours,
}

/// Turns queries or keys [b, h, n, c] by the angles whose `cos` and `sin` [b or 1, 1, n, r/2] are
/// given, in the dtype of x. The first r dimensions of each head turn, the others stay. The angles are
/// no part of a graph of gradients.
///
/// # Errors
/// Shapes that do not fit one another.
pub fn turn(x: &Tensor, cos: &Tensor, sin: &Tensor, pairs: Pairs) -> Result<Tensor> {
    let (cos, sin) = (cos.detach(), sin.detach());
    let compute = |x: &[Tensor]| plain(&x[0], &cos, &sin, pairs);
    // A rotation's derivative turns back. A factor on cosines and sines stays.
    let back = (cos.clone(), sin.clone());
    differentiable(&[x], compute, move |backward| {
        let (cos, sin) = &back;
        Ok(vec![backward.of(0, || plain(backward.gradient, cos, &neg(sin)?, pairs))?])
    })
}

fn plain(x: &Tensor, cos: &Tensor, sin: &Tensor, pairs: Pairs) -> Result<Tensor> {
    if let Some(turned) = by_tokens(x, cos, sin, pairs).or_else(|| fused(x, cos, sin, pairs)) {
        return turned;
    }
    let (b, h, n, c) = x.dims4()?;
    let half = cos.dim(D::Minus1)?;
    let by_angles = |first: &Tensor, second: &Tensor| -> Result<[Tensor; 2]> {
        Ok([
            Sub.apply(&Mul.apply(first, cos)?, &Mul.apply(second, sin)?)?,
            Add.apply(&Mul.apply(second, cos)?, &Mul.apply(first, sin)?)?,
        ])
    };
    let turned = match pairs {
        Pairs::Halves => {
            let part = |i: usize| x.narrow(D::Minus1, i * half, half);
            Tensor::cat(&by_angles(&part(0)?, &part(1)?)?, D::Minus1)?
        }
        Pairs::Neighbours => {
            let pairs = x.narrow(D::Minus1, 0, 2 * half)?.reshape((b, h, n, half, 2))?;
            let part = |i: usize| pairs.narrow(D::Minus1, i, 1)?.squeeze(D::Minus1);
            Tensor::stack(&by_angles(&part(0)?, &part(1)?)?, D::Minus1)?.reshape((
                b,
                h,
                n,
                2 * half,
            ))?
        }
    };
    match c - 2 * half {
        0 => Ok(turned),
        rest => Tensor::cat(&[turned, x.narrow(D::Minus1, 2 * half, rest)?], D::Minus1),
    }
}

/// By candle-nn's kernels on a GPU, which turn whole heads.
fn fused(x: &Tensor, cos: &Tensor, sin: &Tensor, pairs: Pairs) -> Option<Result<Tensor>> {
    let whole = cos.dims().last().is_some_and(|half| x.dims().last() == Some(&(2 * half)));
    (fits_fused(x) && whole && cos.dtype() == x.dtype()).then(|| {
        let x = x.contiguous()?;
        let (b, n) = (cos.dim(0)?, cos.dim(2)?);
        // One row of angles serves a whole batch.
        let rows = |angles: &Tensor| match b {
            1 => angles.reshape((n, ()))?.contiguous(),
            b => angles.reshape((b, n, ()))?.contiguous(),
        };
        match pairs {
            Pairs::Halves => rotary_emb::rope(&x, &rows(cos)?, &rows(sin)?),
            Pairs::Neighbours => rotary_emb::rope_i(&x, &rows(cos)?, &rows(sin)?),
        }
    })
}

/// The result has the shape [b, h, n, c] and lies in memory as [b, n, h, c].
fn by_tokens(x: &Tensor, cos: &Tensor, sin: &Tensor, pairs: Pairs) -> Option<Result<Tensor>> {
    let (&[b, h, n, c], &[rows, 1, positions, half]) = (x.dims(), cos.dims()) else { return None };
    let (elements, cosines, sines) =
        (Elements::<f32>::of(x)?, Elements::contiguous(cos)?, Elements::contiguous(sin)?);
    let &[row_stride, head_stride, token_stride, 1] = elements.strides() else { return None };
    if positions != n || (rows != b && rows != 1) || sin.dims() != cos.dims() || 2 * half > c {
        return None;
    }
    let (x, cos, sin): (_, &[f32], &[f32]) = (&*elements, &*cosines, &*sines);
    let fill = |out: &mut [MaybeUninit<f32>]| {
        parallel::rows(out, h * c, h * c, |token, out| {
            let (row, at) = (token / n, token % n);
            let angles = (if rows == b { token } else { at }) * half;
            let (cos, sin) = (&cos[angles..angles + half], &sin[angles..angles + half]);
            for (head, out) in out.chunks_exact_mut(c).enumerate() {
                let from = row * row_stride + head * head_stride + at * token_stride;
                let x = &x[from..from + c];
                match pairs {
                    Pairs::Halves => halves(out, x, cos, sin),
                    Pairs::Neighbours => neighbours(out, x, cos, sin),
                }
            }
        });
    };
    // SAFETY: the rows of all tokens cover the output, and of each the heads are written from end
    // to end.
    let turned = unsafe { filled_tensor((b, n, h, c), fill) };
    Some(turned.and_then(|turned| turned.transpose(1, 2)))
}

vectorized! {
    /// Writes all of `out`, which is as long as `x`; `sin` is as long as `cos`.
    fn halves(out: &mut [MaybeUninit<f32>], x: &[f32], cos: &[f32], sin: &[f32]) {
        let half = cos.len();
        let (first, rest) = x.split_at(half);
        let (second, still) = rest.split_at(half);
        let (out_first, out_rest) = out.split_at_mut(half);
        let (out_second, out_still) = out_rest.split_at_mut(half);
        for i in 0..half {
            out_first[i].write(first[i] * cos[i] - second[i] * sin[i]);
            out_second[i].write(second[i] * cos[i] + first[i] * sin[i]);
        }
        out_still.write_copy_of_slice(still);
    }
}

vectorized! {
    /// As [`halves`].
    fn neighbours(out: &mut [MaybeUninit<f32>], x: &[f32], cos: &[f32], sin: &[f32]) {
        let (turned, still) = x.split_at(2 * cos.len());
        let (out_turned, out_still) = out.split_at_mut(2 * cos.len());
        let (pairs, _) = turned.as_chunks::<2>();
        let (out_pairs, _) = out_turned.as_chunks_mut::<2>();
        for (((out, [a, b]), cos), sin) in out_pairs.iter_mut().zip(pairs).zip(cos).zip(sin) {
            out[0].write(a * cos - b * sin);
            out[1].write(b * cos + a * sin);
        }
        out_still.write_copy_of_slice(still);
    }
}
