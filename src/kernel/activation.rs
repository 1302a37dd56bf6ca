//! The activations of MLPs, alone or multiplied by a gated MLP's other branch.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};

use super::cpu::parallel;
use super::cpu::parallel::CHUNK;
use super::cpu::simd::math;
use super::cpu::simd::vectorized;
use super::elements::{Elements, filled_tensor};

/// The function between the two matrices of an MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0)
    Relu,
    /// x·Φ(x), with the exact error function.
    Gelu,
    /// Its approximation through tanh.
    GeluTanh,
    /// x·σ(x)
    Silu,
}

impl Activation {
    /// act(x), or act(x)·gate, of two tensors of one shape.
    pub fn apply(self, x: &Tensor, gate: Option<&Tensor>) -> Result<Tensor> {
        if let Some(y) = self.by_chunks(x, gate) {
            return y;
        }
        let y = match self {
            Activation::Relu => x.relu()?,
            Activation::Gelu => x.gelu_erf()?,
            Activation::GeluTanh => x.gelu()?,
            Activation::Silu => x.silu()?,
        };
        match gate {
            Some(gate) => y * gate,
            None => Ok(y),
        }
    }

    fn by_chunks(self, x: &Tensor, gate: Option<&Tensor>) -> Option<Result<Tensor>> {
        let given = Elements::<f32>::contiguous(x)?;
        let gates = match gate {
            Some(gate) => Some(Elements::<f32>::contiguous(gate)?),
            None => None,
        };
        if gate.is_some_and(|gate| gate.dims() != x.dims()) {
            return None;
        }
        let (given, gates) = (&*given, gates.as_deref());
        let write = match self {
            Activation::Relu => relu,
            Activation::Gelu => gelu,
            Activation::GeluTanh => gelu_tanh,
            Activation::Silu => silu,
        };
        let fill = |out: &mut [MaybeUninit<f32>]| {
            parallel::chunks(out, CHUNK, |chunk, out| {
                let at = chunk * CHUNK..chunk * CHUNK + out.len();
                write(out, &given[at.clone()], gates.map(|gates| &gates[at]));
            });
        };
        // SAFETY: the chunks cover the output, and `write` writes all of a chunk, since the
        // elements and the gates have its length.
        Some(unsafe { filled_tensor(x.shape().clone(), fill) })
    }
}

/// Loops that write all of `out`, if the other slices are as long.
macro_rules! loops {
    ($($name:ident: $x:ident => $y:expr;)*) => {$(
        vectorized! {
            fn $name(out: &mut [MaybeUninit<f32>], x: &[f32], gates: Option<&[f32]>) {
                match gates {
                    Some(gates) => {
                        for ((out, &$x), gate) in out.iter_mut().zip(x).zip(gates) {
                            out.write($y * gate);
                        }
                    }
                    None => {
                        for (out, &$x) in out.iter_mut().zip(x) {
                            out.write($y);
                        }
                    }
                }
            }
        }
    )*};
}

loops! {
    relu: x => math::relu(x);
    gelu: x => math::gelu::<FUSED>(x);
    gelu_tanh: x => math::gelu_tanh::<FUSED>(x);
    silu: x => math::silu::<FUSED>(x);
}
