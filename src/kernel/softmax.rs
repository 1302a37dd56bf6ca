//! Scores to patterns: the mask and the softmax over the keys.

use std::mem::MaybeUninit;

use candle_core::{D, Result, Tensor};

use super::cpu::parallel;
use super::cpu::simd::rows::{divide, exponentials_from, largest};
use super::cpu::simd::vectorized;
use super::{Elements, made, suits};

/// Scores of one query to what its keys get before they are divided by the number that comes back.
///
/// Where every key that the mask lets through has −∞, nothing is left to attend to, and all get 0:
/// not NaN, and not a share of what the mask hides.
pub fn shares(scores: &mut [f32]) -> f32 {
    let most = largest(scores);
    if most <= f32::MIN
        && scores.contains(&f32::NEG_INFINITY)
        && !scores.iter().any(|score| score.is_nan())
    {
        scores.fill(0.0);
        return 1.0;
    }
    exponentials_from(scores, most)
}

/// Over the last dimension.
pub fn softmax(scores: &Tensor) -> Option<Result<Tensor>> {
    (suits(scores) && scores.is_contiguous() && scores.rank() > 0).then(|| {
        let m = scores.dim(D::Minus1)?;
        let given = Elements::of(scores);
        let given = given.whole()?;
        let fill = |out: &mut [MaybeUninit<f32>]| {
            parallel::rows(out, m, m, |row, out| {
                let out = out.write_copy_of_slice(&given[row * m..][..m]);
                let total = shares(out);
                divide(out, total);
            });
            Ok(())
        };
        // SAFETY: the rows are all of it, and each is written from end to end.
        unsafe { made(scores.shape().clone(), fill) }
    })
}

/// Scores [b, h, n, m] where `allowed` [b or 1, 1, n, m] lets the query look, the lowest number
/// elsewhere.
pub fn masked(scores: &Tensor, allowed: &Tensor) -> Option<Result<Tensor>> {
    let fits = suits(scores)
        && scores.is_contiguous()
        && allowed.device().is_cpu()
        && allowed.is_contiguous();
    let shapes = match (scores.dims(), allowed.dims()) {
        ([b, _, n, m], [rows, 1, k, l]) => (rows == b || *rows == 1) && (n, m) == (k, l),
        _ => false,
    };
    (fits && shapes && allowed.dtype() == candle_core::DType::U8).then(|| {
        let (b, h, n, m) = scores.dims4()?;
        let (given, mask) = (Elements::of(scores), Elements::of(allowed));
        let (given, mask) = (given.whole()?, mask.u8()?);
        let masks = allowed.dim(0)?;
        let fill = |out: &mut [MaybeUninit<f32>]| {
            parallel::rows(out, m, m, |row, out| {
                let of = if masks == b { row / (h * n) } else { 0 };
                let at = (of * n + row % n) * m;
                hide(out, &given[row * m..][..m], &mask[at..at + m]);
            });
            Ok(())
        };
        // SAFETY: as above.
        unsafe { made((b, h, n, m), fill) }
    })
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn what_has_nothing_left_to_attend_to_attends_to_nothing() {
        const NOT: f32 = f32::NEG_INFINITY;
        let pattern = |scores: &[f32]| {
            let mut scores = scores.to_vec();
            let total = shares(&mut scores);
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

vectorized! {
    fn hide(out: &mut [MaybeUninit<f32>], scores: &[f32], allowed: &[u8]) {
        for ((out, score), allowed) in out.iter_mut().zip(scores).zip(allowed) {
            out.write(if *allowed == 0 { f32::MIN } else { *score });
        }
    }
}
