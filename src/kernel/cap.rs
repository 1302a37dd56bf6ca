//! The soft cap of scores and logits (Gemma 2).

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};

use super::cpu::parallel;
use super::cpu::parallel::CHUNK;
use super::cpu::simd::math::tanh;
use super::cpu::simd::vectorized;
use super::differentiable::differentiable;
use super::elements::{Elements, filled_tensor};
use super::elementwise::{Binary, affine, sqr};

/// cap · tanh(x / cap), which is between −cap and cap.
///
/// # Errors
/// candle's.
pub fn soft_cap(x: &Tensor, cap: f64) -> Result<Tensor> {
    let compute =
        |x: &[Tensor]| by_chunks(&x[0], cap as f32).unwrap_or_else(|| (&x[0] / cap)?.tanh()? * cap);
    differentiable(&[x], compute, move |back| {
        let share = || affine(&sqr(&affine(&back.output, 1.0 / cap, 0.0)?)?, -1.0, 1.0);
        let slope = || Binary::Mul.apply(&share()?, back.gradient);
        Ok(vec![back.of(0, slope)?])
    })
}

fn by_chunks(x: &Tensor, cap: f32) -> Option<Result<Tensor>> {
    let given = Elements::<f32>::contiguous(x)?;
    let given = &*given;
    let fill = |out: &mut [MaybeUninit<f32>]| {
        parallel::chunks(out, CHUNK, |chunk, out| {
            cap_each(out.write_copy_of_slice(&given[chunk * CHUNK..][..out.len()]), cap);
        });
    };
    // SAFETY: the chunks cover the output, and each begins as a copy of a part of x.
    Some(unsafe { filled_tensor(x.shape().clone(), fill) })
}

vectorized! {
    /// Replaces each score by its capped one.
    pub fn cap_each(scores: &mut [f32], cap: f32) {
        for score in scores {
            *score = tanh::<FUSED>(*score / cap) * cap;
        }
    }
}
