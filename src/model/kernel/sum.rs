//! The sum of two tensors of one shape.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::{Elements, TASK, made, suits};
use crate::simd::vectorized;

/// a + b, for tensors of one shape that lie in one piece.
pub fn sum(a: &Tensor, b: &Tensor) -> Option<Result<Tensor>> {
    let alike = a.dims() == b.dims() && a.is_contiguous() && b.is_contiguous();
    (suits(a) && suits(b) && alike).then(|| add(a, b))
}

fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (left, right) = (Elements::of(a), Elements::of(b));
    let (left, right) = (left.whole()?, right.whole()?);
    let fill = |out: &mut [std::mem::MaybeUninit<f32>]| {
        let parts = out.par_chunks_mut(TASK).zip(left.par_chunks(TASK).zip(right.par_chunks(TASK)));
        parts.for_each(|(out, (a, b))| add_part(out, a, b));
        Ok(())
    };
    // SAFETY: the parts are all of it, and each is written from end to end.
    unsafe { made(a.shape().clone(), fill) }
}

vectorized! {
    fn add_part(out: &mut [std::mem::MaybeUninit<f32>], a: &[f32], b: &[f32]) {
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            out.write(a + b);
        }
    }
}
