//! Scores to patterns: the mask and the softmax over the keys.

use std::mem::MaybeUninit;

use candle_core::{D, Result, Tensor};

use super::{Elements, made, suits};
use crate::parallel;
use crate::simd::rows::{divide, exponentials};
use crate::simd::vectorized;

/// Over the last dimension.
pub fn softmax(scores: &Tensor) -> Option<Result<Tensor>> {
    (suits(scores) && scores.is_contiguous() && scores.rank() > 0).then(|| {
        let m = scores.dim(D::Minus1)?;
        let given = Elements::of(scores);
        let given = given.whole()?;
        let fill = |out: &mut [MaybeUninit<f32>]| {
            parallel::rows(out, m, m, |row, out| {
                let out = out.write_copy_of_slice(&given[row * m..][..m]);
                let total = exponentials(out);
                divide(out, total);
            });
            Ok(())
        };
        // SAFETY: the rows are all of it, and each is written from end to end.
        unsafe { made(scores.shape().clone(), fill) }
    })
}

/// Scores [b, h, n, m] where `allowed` [b or 1, 1, n, m] lets the query look, the lowest number elsewhere.
pub fn masked(scores: &Tensor, allowed: &Tensor) -> Option<Result<Tensor>> {
    let fits = suits(scores) && scores.is_contiguous() && allowed.device().is_cpu() && allowed.is_contiguous();
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

vectorized! {
    fn hide(out: &mut [MaybeUninit<f32>], scores: &[f32], allowed: &[u8]) {
        for ((out, score), allowed) in out.iter_mut().zip(scores).zip(allowed) {
            out.write(if *allowed == 0 { f32::MIN } else { *score });
        }
    }
}
