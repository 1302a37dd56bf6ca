//! Functions of each element of float32 tensors on the CPU, to a few units in the last place.
//! Each gives nothing for a tensor that [`Elements`] does not take.

use std::mem::MaybeUninit;

use candle_core::{Result, Tensor};

use crate::cpu::parallel;
use crate::cpu::parallel::CHUNK;
use crate::cpu::simd::math;
use crate::cpu::simd::vectorized;
use crate::elements::{Elements, filled_tensor, with_slice};

macro_rules! functions {
    ($($(#[$about:meta])* $name:ident: $x:ident => $y:expr;)*) => {$(
        $(#[$about])*
        pub fn $name(x: &Tensor) -> Option<Result<Tensor>> {
            vectorized! {
                /// Writes all of `out`, if `x` is as long.
                fn write(out: &mut [MaybeUninit<f32>], x: &[f32]) {
                    for (out, &$x) in out.iter_mut().zip(x) {
                        out.write($y);
                    }
                }
            }
            Elements::<f32>::fit(x).then(|| {
                with_slice(x, |given: &[f32]| {
                    let fill = |out: &mut [MaybeUninit<f32>]| {
                        parallel::chunks(out, CHUNK, |chunk, out| {
                            write(out, &given[chunk * CHUNK..][..out.len()]);
                        });
                    };
                    // SAFETY: the chunks cover the output, and `write` writes all of a chunk,
                    // since the elements have its length.
                    unsafe { filled_tensor(x.shape().clone(), fill) }
                })?
            })
        }
    )*};
}

functions! {
    /// e to the x.
    exp: x => math::exp::<FUSED>(x);
    /// The natural logarithm.
    ln: x => math::ln::<FUSED>(x);
    /// The square root.
    sqrt: x => x.sqrt();
    /// The sine.
    sin: x => x.sin();
    /// The cosine.
    cos: x => x.cos();
    /// 1 / √x
    rsqrt: x => 1.0 / x.sqrt();
    /// The hyperbolic tangent.
    tanh: x => math::tanh::<FUSED>(x);
    /// 1 / (1 + exp(−x))
    sigmoid: x => math::sigmoid::<FUSED>(x);
    /// The error function.
    erf: x => math::erf::<FUSED>(x);
}
