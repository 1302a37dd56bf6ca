//! Activations, alone or with the gate that they open.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};

use super::cpu::parallel;
use super::cpu::parallel::CHUNK;
use super::cpu::simd::math::{erf, sigmoid, tanh};
use super::cpu::simd::vectorized;
use super::{Elements, made, suits};
use crate::model::spec::Activation;

/// act(x), or act(x)·up where there is a gated MLP's other branch.
pub fn activation(kind: Activation, x: &Tensor, up: Option<&Tensor>) -> Option<Result<Tensor>> {
    let whole = |t: &Tensor| suits(t) && t.is_contiguous();
    let alike = up.is_none_or(|up| whole(up) && up.dims() == x.dims());
    (whole(x) && alike).then(|| act(kind, x, up))
}

fn act(kind: Activation, x: &Tensor, up: Option<&Tensor>) -> Result<Tensor> {
    let (given, gate) = (Elements::of(x), up.map(Elements::of));
    let given = given.whole()?;
    let gate = gate.as_ref().map(|gate| gate.whole()).transpose()?;
    let fill = |out: &mut [MaybeUninit<f32>]| {
        parallel::chunks(out, CHUNK, |task, out| {
            let at = task * CHUNK..task * CHUNK + out.len();
            let of = match kind {
                Activation::Relu => relu,
                Activation::Gelu => gelu,
                Activation::GeluTanh => gelu_tanh,
                Activation::Silu => silu,
            };
            of(out, &given[at.clone()]);
            if let Some(gate) = gate {
                open(out, &gate[at]);
            }
        });
        Ok(())
    };
    // SAFETY: the tasks cover all of it, and each writes its part from end to end.
    unsafe { made(x.shape().clone(), fill) }
}

vectorized! {
    fn relu(out: &mut [MaybeUninit<f32>], x: &[f32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            // As torch has it, NaN stays.
            out.write(if x < 0.0 { 0.0 } else { x });
        }
    }
}

vectorized! {
    fn gelu(out: &mut [MaybeUninit<f32>], x: &[f32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            out.write(0.5 * x * (1.0 + erf::<FUSED>(x * std::f32::consts::FRAC_1_SQRT_2)));
        }
    }
}

vectorized! {
    fn gelu_tanh(out: &mut [MaybeUninit<f32>], x: &[f32]) {
        const SQRT_2_OVER_PI: f32 = 0.797_884_6;
        for (out, &x) in out.iter_mut().zip(x) {
            out.write(0.5 * x * (1.0 + tanh::<FUSED>(SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x))));
        }
    }
}

vectorized! {
    fn silu(out: &mut [MaybeUninit<f32>], x: &[f32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            out.write(x * sigmoid::<FUSED>(x));
        }
    }
}

vectorized! {
    /// out·gate, where `out` has been written.
    fn open(out: &mut [MaybeUninit<f32>], gate: &[f32]) {
        for (out, gate) in out.iter_mut().zip(gate) {
            // SAFETY: the activation has written it.
            out.write(unsafe { out.assume_init() } * gate);
        }
    }
}
