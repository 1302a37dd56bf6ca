//! Functions of each element of float32 tensors on the CPU, vectorised and on all cores.

use std::mem::MaybeUninit;

use candle_core::{DType, Tensor};

use super::function::Function;
use super::loops;
use crate::Result;
use crate::kernel::cpu::simd::math::{erf, exp, ln, sigmoid, tanh};
use crate::kernel::cpu::simd::vectorized;

/// The function of each element, to a few units in the last place; nothing for other dtypes and
/// devices, and for functions that are worked out in double precision.
pub fn apply(function: Function, x: &Tensor) -> Option<Result<Tensor>> {
    let f = match function {
        Function::Exp => exps,
        Function::Log => logs,
        Function::Sqrt => roots,
        Function::Rsqrt => inverse_roots,
        Function::Tanh => tanhs,
        Function::Sigmoid => sigmoids,
        Function::Gelu => gelus,
        Function::GeluTanh => gelus_by_tanh,
        Function::Silu => silus,
        Function::Erf => erfs,
        Function::Expm1
        | Function::Log2
        | Function::Log10
        | Function::Log1p
        | Function::Sin
        | Function::Cos => {
            return None;
        }
    };
    let suits = x.device().is_cpu() && x.dtype() == DType::F32;
    // SAFETY: each of them writes its piece whole.
    suits.then(|| unsafe { loops::map_pieces(x, f) })
}

/// The larger of each element and 0.
///
/// # Errors
/// A tensor that is not float32 on the CPU.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    // SAFETY: it writes its piece whole.
    unsafe { loops::map_pieces(x, relus) }
}

macro_rules! each {
    ($($name:ident: $x:ident => $y:expr;)*) => {$(
        vectorized! {
            fn $name(x: &[f32], out: &mut [MaybeUninit<f32>]) {
                for (out, &$x) in out.iter_mut().zip(x) {
                    out.write($y);
                }
            }
        }
    )*};
}

each! {
    exps: x => exp::<FUSED>(x);
    logs: x => ln::<FUSED>(x);
    roots: x => x.sqrt();
    inverse_roots: x => 1.0 / x.sqrt();
    tanhs: x => tanh::<FUSED>(x);
    sigmoids: x => sigmoid::<FUSED>(x);
    gelus: x => 0.5 * x * (1.0 + erf::<FUSED>(x * std::f32::consts::FRAC_1_SQRT_2));
    gelus_by_tanh: x => 0.5 * x * (1.0 + tanh::<FUSED>(0.797_884_6 * (x + 0.044_715 * x * x * x)));
    silus: x => x * sigmoid::<FUSED>(x);
    erfs: x => erf::<FUSED>(x);
    relus: x => if x < 0.0 { 0.0 } else { x };
}
