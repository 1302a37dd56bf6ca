//! The activations of MLPs, alone or multiplied by a gated MLP's other branch.

use std::f64::consts::{FRAC_1_SQRT_2, PI, TAU};
use std::mem::MaybeUninit;

use candle_core::{DType, Result, Tensor};
use candle_nn::ops;

use super::cpu::parallel;
use super::cpu::parallel::CHUNK;
use super::cpu::simd::math;
use super::cpu::simd::vectorized;
use super::differentiable::{Backward, Gradients, differentiable};
use super::elements::{Elements, filled_tensor};
use super::elementwise::Binary;
use super::half_precision::{round, widen};

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
    /// max(x, 0)²
    Relu2,
    /// x·σ(1.702·x)
    QuickGelu,
    /// x·tanh(ln(1 + e^x)) (Misra 2019)
    Mish,
}

impl Activation {
    /// act(x), or act(x)·gate, of two tensors of one shape.
    ///
    /// # Errors
    /// Shapes that differ.
    pub fn apply(self, x: &Tensor, gate: Option<&Tensor>) -> Result<Tensor> {
        let inputs: Vec<&Tensor> = [x].into_iter().chain(gate).collect();
        let compute = |inputs: &[Tensor]| self.plain(&inputs[0], inputs.get(1));
        differentiable(&inputs, compute, move |back| self.gradients(back))
    }

    fn plain(self, x: &Tensor, gate: Option<&Tensor>) -> Result<Tensor> {
        if let Some(y) = by_chunks(self.function(), x, gate) {
            return y;
        }
        if x.device().is_cpu() && matches!(x.dtype(), DType::F16 | DType::BF16) {
            let y = round(&self.plain(&widen(x)?.contiguous()?, None)?, x.dtype())?;
            return gate.map_or_else(|| Ok(y.clone()), |gate| Binary::Mul.apply(&y, gate));
        }
        let y = match self {
            Activation::Relu => x.relu()?,
            Activation::Gelu => x.gelu_erf()?,
            Activation::GeluTanh => x.gelu()?,
            Activation::Silu => x.silu()?,
            Activation::Relu2 => x.relu()?.sqr()?,
            Activation::QuickGelu => (x * ops::sigmoid(&(x * 1.702)?)?)?,
            Activation::Mish => (x * softplus(x)?.tanh()?)?,
        };
        match gate {
            Some(gate) => Binary::Mul.apply(&y, gate),
            None => Ok(y),
        }
    }

    /// With regard to x and the gate. Half types are computed in float32.
    fn gradients(self, back: &Backward) -> Result<Gradients> {
        let (x, gate) = (widen(&back.inputs[0])?, back.inputs.get(1).map(widen).transpose()?);
        let g = widen(back.gradient)?;
        let narrow = |t: Tensor| round(&t, back.output.dtype());
        let of_x = || {
            let of_act = match &gate {
                Some(gate) => Binary::Mul.apply(&g, gate)?,
                None => g.clone(),
            };
            let of_x = match by_chunks(self.slopes(), &x, Some(&of_act)) {
                Some(of_x) => of_x?,
                None => Binary::Mul.apply(&of_act, &self.slopes_by_candle(&x)?)?,
            };
            narrow(of_x)
        };
        let mut gradients = vec![back.of(0, of_x)?];
        if gate.is_some() {
            gradients.push(back.of(1, || narrow(self.plain(&x, Some(&g))?))?);
        }
        Ok(gradients)
    }

    fn function(self) -> Loop {
        match self {
            Activation::Relu => relu,
            Activation::Gelu => gelu,
            Activation::GeluTanh => gelu_tanh,
            Activation::Silu => silu,
            Activation::Relu2 => relu2,
            Activation::QuickGelu => quick_gelu,
            Activation::Mish => mish,
        }
    }

    fn slopes(self) -> Loop {
        match self {
            Activation::Relu => relu_slopes,
            Activation::Gelu => gelu_slopes,
            Activation::GeluTanh => gelu_tanh_slopes,
            Activation::Silu => silu_slopes,
            Activation::Relu2 => relu2_slopes,
            Activation::QuickGelu => quick_gelu_slopes,
            Activation::Mish => mish_slopes,
        }
    }

    fn slopes_by_candle(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Activation::Relu => x.le(0.0)?.where_cond(&x.zeros_like()?, &x.ones_like()?),
            Activation::Gelu => {
                let share = (((x * FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5)?;
                let density = ((x.sqr()? * -0.5)?.exp()? / TAU.sqrt())?;
                share + (x * density)?
            }
            Activation::GeluTanh => {
                let (k, square) = ((2.0 / PI).sqrt(), x.sqr()?);
                let u = (x * ((&square * (0.044_715 * k))? + k)?)?;
                let share = ops::sigmoid(&(u * 2.0)?)?;
                let slope = (&share * (1.0 - &share)?)?;
                let steepness = ((square * (3.0 * 0.044_715 * k))? + k)?;
                share + ((x * slope)? * (steepness * 2.0)?)?
            }
            Activation::Silu => {
                let share = ops::sigmoid(x)?;
                &share * ((x * (1.0 - &share)?)? + 1.0)?
            }
            Activation::Relu2 => x.relu()? * 2.0,
            Activation::QuickGelu => Activation::Silu.slopes_by_candle(&(x * 1.702)?),
            Activation::Mish => {
                let t = softplus(x)?.tanh()?;
                let steepness = ((1.0 - t.sqr()?)? * ops::sigmoid(x)?)?;
                t + (x * steepness)?
            }
        }
    }
}

/// ln(1 + e^x)
fn softplus(x: &Tensor) -> Result<Tensor> {
    x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?
}

/// Writes a function of each element, multiplied by the gates if there are some.
type Loop = fn(&mut [MaybeUninit<f32>], &[f32], Option<&[f32]>);

fn by_chunks(write: Loop, x: &Tensor, gate: Option<&Tensor>) -> Option<Result<Tensor>> {
    let given = Elements::<f32>::contiguous(x)?;
    let gates = match gate {
        Some(gate) => Some(Elements::<f32>::contiguous(gate)?),
        None => None,
    };
    if gate.is_some_and(|gate| gate.dims() != x.dims()) {
        return None;
    }
    let (given, gates) = (&*given, gates.as_deref());
    let fill = |out: &mut [MaybeUninit<f32>]| {
        parallel::chunks(out, CHUNK, |chunk, out| {
            let at = chunk * CHUNK..chunk * CHUNK + out.len();
            write(out, &given[at.clone()], gates.map(|gates| &gates[at]));
        });
    };
    // SAFETY: the chunks cover the output, and `write` writes all of a chunk, since the elements and
    // the gates have its length.
    Some(unsafe { filled_tensor(x.shape().clone(), fill) })
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
    relu2: x => math::relu2(x);
    quick_gelu: x => math::quick_gelu::<FUSED>(x);
    mish: x => math::mish::<FUSED>(x);
    relu_slopes: x => math::relu_slope(x);
    gelu_slopes: x => math::gelu_slope::<FUSED>(x);
    gelu_tanh_slopes: x => math::gelu_tanh_slope::<FUSED>(x);
    silu_slopes: x => math::silu_slope::<FUSED>(x);
    relu2_slopes: x => math::relu2_slope(x);
    quick_gelu_slopes: x => math::quick_gelu_slope::<FUSED>(x);
    mish_slopes: x => math::mish_slope::<FUSED>(x);
}
