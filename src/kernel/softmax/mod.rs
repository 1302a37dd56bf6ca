//! Softmax, its logarithm, and the patterns of attention, which are softmax with a mask.

mod backward;

use std::mem::MaybeUninit;

use candle_core::{D, DType, Result, Tensor, bail};
use candle_nn::ops;

use crate::cpu::parallel;
use crate::cpu::simd::math::exp_or_zero;
use crate::cpu::simd::vectorized;
use crate::differentiable::differentiable;
use crate::elements::{Elements, Float, filled_tensor, fits_fused};
use crate::half_precision::{round, widen};

/// e^x / Σ e^x over the last dim. Half types are computed in float32.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    differentiable(&[x], |x| plain(&x[0]), backward::of_softmax)
}

fn plain(x: &Tensor) -> Result<Tensor> {
    match by_rows::<f32>(x, f32::softmax).or_else(|| by_rows::<f64>(x, f64::softmax)) {
        Some(y) => y,
        None if fits_fused(x) => ops::softmax_last_dim(&x.contiguous()?),
        None if is_half(x) => round(&plain(&widen(x)?)?, x.dtype()),
        None => ops::softmax(x, D::Minus1),
    }
}

fn is_half(x: &Tensor) -> bool {
    matches!(x.dtype(), DType::F16 | DType::BF16)
}

/// log of [`softmax`], exact also where that is near 0.
pub fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let compute = |x: &[Tensor]| {
        let x = &x[0];
        match by_rows::<f32>(x, f32::log_softmax).or_else(|| by_rows::<f64>(x, f64::log_softmax)) {
            Some(y) => y,
            None if is_half(x) => round(&log_softmax(&widen(x)?)?, x.dtype()),
            None => ops::log_softmax(x, D::Minus1),
        }
    };
    differentiable(&[x], compute, backward::of_log_softmax)
}

/// [`softmax`] of attention scores [.., m], where a query whose scores are all −∞ or hidden by the
/// mask (see [`masked`]), with a −∞ among them, attends to nothing: its row is 0.
///
/// Only a hook can make such a query. On devices where looking for one costs more than the softmax,
/// `hooked` says whether a hook may have.
pub fn pattern(scores: &Tensor, hooked: bool) -> Result<Tensor> {
    let compute = |scores: &[Tensor]| plain_pattern(&scores[0], hooked);
    // Rows of 0 have no gradient, as the formula gives it.
    differentiable(&[scores], compute, backward::of_softmax)
}

fn plain_pattern(scores: &Tensor, hooked: bool) -> Result<Tensor> {
    if let Some(pattern) = by_rows(scores, |row| {
        let total = exponentials_of_scores(row);
        divide(row, total);
    }) {
        return pattern;
    }
    let nothing_left =
        if hooked || scores.device().is_cpu() { nothing_left(scores)? } else { None };
    match nothing_left {
        None => plain(scores),
        Some(rows) => {
            let zeros = scores.zeros_like()?;
            rows.where_cond(&zeros, &plain(&rows.where_cond(&zeros, scores)?)?)
        }
    }
}

/// Scores [b, h, n, m] where `allowed` ([b or 1, 1, n, m], u8) is other than 0, and elsewhere the
/// dtype's lowest finite number.
pub fn masked(scores: &Tensor, allowed: &Tensor) -> Result<Tensor> {
    let lowest = lowest(scores.dtype())?;
    let kept = allowed.clone();
    let compute = |scores: &[Tensor]| replaced(&scores[0], allowed, lowest);
    differentiable(&[scores], compute, move |back| {
        Ok(vec![back.of(0, || replaced(back.gradient, &kept, 0.0))?])
    })
}

/// `x` [b, h, n, m] with `value` wherever `allowed` is 0.
fn replaced(x: &Tensor, allowed: &Tensor, value: f64) -> Result<Tensor> {
    if let Some(replaced) = replaced_rows(x, allowed, value as f32) {
        return replaced;
    }
    let value = Tensor::new(value, x.device())?.to_dtype(x.dtype())?.broadcast_as(x.shape())?;
    allowed.broadcast_as(x.shape())?.where_cond(x, &value)
}

/// The floats whose rows these functions take. f32 is vectorised; f64 uses the standard library's
/// functions.
pub trait Softmax: Float {
    /// Replaces a row by its softmax.
    fn softmax(row: &mut [Self]);
    /// Replaces a row by the logarithm of its softmax.
    fn log_softmax(row: &mut [Self]);
}

impl Softmax for f32 {
    fn softmax(row: &mut [f32]) {
        let total = exponentials(row, largest(row));
        divide(row, total);
    }

    fn log_softmax(row: &mut [f32]) {
        let most = largest(row);
        let log = sum_of_exponentials(row, most).ln() as f32;
        subtract(row, most, log);
    }
}

impl Softmax for f64 {
    fn softmax(row: &mut [f64]) {
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        row.iter_mut().for_each(|x| *x = (*x - most).exp());
        let total = row.iter().sum::<f64>();
        row.iter_mut().for_each(|x| *x /= total);
    }

    fn log_softmax(row: &mut [f64]) {
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log = row.iter().map(|x| (x - most).exp()).sum::<f64>().ln();
        row.iter_mut().for_each(|x| *x = *x - most - log);
    }
}

/// log Σ e^x of a row.
pub fn logsumexp(row: &[f32]) -> f64 {
    let most = largest(row);
    f64::from(most) + sum_of_exponentials(row, most).ln()
}

/// Replaces the scores of one query by e^(score − the largest), and returns their sum.
///
/// If all scores are −∞ or the lowest number, with a −∞ among them, nothing is left to attend to:
/// all become 0 and the sum is taken for 1, so that the query gets neither NaN nor a share of what
/// the mask hides.
pub fn exponentials_of_scores(scores: &mut [f32]) -> f32 {
    let most = largest(scores);
    if most <= f32::MIN
        && scores.contains(&f32::NEG_INFINITY)
        && !scores.iter().any(|score| score.is_nan())
    {
        scores.fill(0.0);
        return 1.0;
    }
    exponentials(scores, most)
}

fn by_rows<T: Float>(x: &Tensor, f: impl Fn(&mut [T]) + Sync) -> Option<Result<Tensor>> {
    let &width = x.dims().last()?;
    let given = Elements::<T>::contiguous(x)?;
    let given = &*given;
    let fill = |out: &mut [MaybeUninit<T>]| {
        parallel::rows(out, width, width, |row, out| {
            f(out.write_copy_of_slice(&given[row * width..][..width]));
        });
    };
    // SAFETY: the rows cover the output, and each begins as a copy of a row of x.
    Some(unsafe { filled_tensor(x.shape().clone(), fill) })
}

fn replaced_rows(scores: &Tensor, allowed: &Tensor, value: f32) -> Option<Result<Tensor>> {
    let (&[b, h, n, m], &[masks, 1, rows, keys]) = (scores.dims(), allowed.dims()) else {
        return None;
    };
    if (masks != b && masks != 1) || (rows, keys) != (n, m) {
        return None;
    }
    let (given, mask) =
        (Elements::<f32>::contiguous(scores)?, Elements::<u8>::contiguous(allowed)?);
    let (given, mask) = (&*given, &*mask);
    let fill = |out: &mut [MaybeUninit<f32>]| {
        parallel::rows(out, m, m, |row, out| {
            let of = if masks == b { row / (h * n) } else { 0 };
            let at = (of * n + row % n) * m;
            hide(out, &given[row * m..][..m], &mask[at..at + m], value);
        });
    };
    // SAFETY: the rows cover the output, and `hide` writes all of a row, since the scores and the
    // mask have its length.
    Some(unsafe { filled_tensor((b, h, n, m), fill) })
}

/// u8 of the scores' shape: 1 in the rows where nothing is left to attend to, see [`pattern`].
fn nothing_left(scores: &Tensor) -> Result<Option<Tensor>> {
    let infinite = scores.eq(f64::NEG_INFINITY)?;
    if scores.device().is_cpu() && infinite.flatten_all()?.max(0)?.to_scalar::<u8>()? == 0 {
        return Ok(None);
    }
    let low = scores.le(lowest(scores.dtype())?)?;
    let rows = (low.min_keepdim(D::Minus1)? * infinite.max_keepdim(D::Minus1)?)?;
    Ok(Some(rows.broadcast_as(scores.shape())?.contiguous()?))
}

/// The lowest finite number.
fn lowest(dtype: DType) -> Result<f64> {
    Ok(match dtype {
        DType::F16 => f64::from(half::f16::MIN),
        DType::BF16 => f64::from(half::bf16::MIN),
        DType::F32 => f64::from(f32::MIN),
        DType::F64 => f64::MIN,
        other => bail!("scores can't be {}", other.as_str()),
    })
}

/// Independent sums and maxima, so that one need not wait for the one before.
const LANES: usize = 32;
/// Exponentials that float32 sums without losing more than the last digits.
const BLOCK: usize = 2048;

/// Replaces a row by e^(x − most), and returns the sum.
fn exponentials(row: &mut [f32], most: f32) -> f32 {
    row.chunks_mut(BLOCK).map(|row| f64::from(exponentials_block(row, most))).sum::<f64>() as f32
}

/// Σ e^(x − most)
fn sum_of_exponentials(row: &[f32], most: f32) -> f64 {
    row.chunks(BLOCK).map(|row| f64::from(sum_of_exponentials_block(row, most))).sum()
}

vectorized! {
    /// The largest number that is not NaN.
    fn largest(row: &[f32]) -> f32 {
        let mut most = [f32::NEG_INFINITY; LANES];
        let (whole, rest) = row.as_chunks::<LANES>();
        for x in whole {
            for lane in 0..LANES {
                most[lane] = if x[lane] > most[lane] { x[lane] } else { most[lane] };
            }
        }
        most.iter().chain(rest).fold(f32::NEG_INFINITY, |most, &x| if x > most { x } else { most })
    }
}

vectorized! {
    fn exponentials_block(row: &mut [f32], most: f32) -> f32 {
        let mut sums = [0f32; LANES];
        let (whole, rest) = row.as_chunks_mut::<LANES>();
        for x in whole {
            for lane in 0..LANES {
                x[lane] = exp_or_zero::<FUSED>(x[lane] - most);
                sums[lane] += x[lane];
            }
        }
        let mut sum = sums.iter().sum::<f32>();
        for x in rest {
            *x = exp_or_zero::<FUSED>(*x - most);
            sum += *x;
        }
        sum
    }
}

vectorized! {
    fn sum_of_exponentials_block(row: &[f32], most: f32) -> f32 {
        let mut sums = [0f32; LANES];
        let (whole, rest) = row.as_chunks::<LANES>();
        for x in whole {
            for lane in 0..LANES {
                sums[lane] += exp_or_zero::<FUSED>(x[lane] - most);
            }
        }
        let mut sum = sums.iter().sum::<f32>();
        for x in rest {
            sum += exp_or_zero::<FUSED>(*x - most);
        }
        sum
    }
}

vectorized! {
    /// Divides each number.
    pub fn divide(row: &mut [f32], by: f32) {
        for x in row {
            *x /= by;
        }
    }
}

vectorized! {
    fn subtract(row: &mut [f32], most: f32, log: f32) {
        for x in row {
            *x = *x - most - log;
        }
    }
}

vectorized! {
    /// Writes all of `out`, if the other slices are as long.
    fn hide(out: &mut [MaybeUninit<f32>], scores: &[f32], allowed: &[u8], value: f32) {
        for ((out, score), allowed) in out.iter_mut().zip(scores).zip(allowed) {
            out.write(if *allowed == 0 { value } else { *score });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_with_nothing_left_to_attend_to_attends_to_nothing() {
        const NOT: f32 = f32::NEG_INFINITY;
        let pattern = |scores: &[f32]| {
            let mut scores = scores.to_vec();
            let total = exponentials_of_scores(&mut scores);
            divide(&mut scores, total);
            scores
        };
        assert_eq!(pattern(&[NOT, NOT, NOT]), [0.0, 0.0, 0.0]);
        // What the mask hides has the lowest number, which is more than −∞.
        assert_eq!(pattern(&[NOT, f32::MIN, f32::MIN]), [0.0, 0.0, 0.0]);
        assert_eq!(pattern(&[f32::MIN, f32::MIN]), [0.5, 0.5]);
        assert_eq!(pattern(&[NOT, 1.0, f32::MIN]), [0.0, 1.0, 0.0]);
        assert!(pattern(&[NOT, f32::NAN]).iter().all(|share| share.is_nan()));
        assert!(pattern(&[f32::NAN, f32::NAN]).iter().all(|share| share.is_nan()));
        assert!(pattern(&[f32::INFINITY, 1.0])[0].is_nan());
    }
}
