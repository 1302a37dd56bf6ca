//! Parallel element-wise loops on the CPU, for functions that candle lacks or computes otherwise than
//! PyTorch. A tensor on another device is copied to the host and back.

use std::mem::MaybeUninit;

use candle_core::{DType, Device, Tensor, WithDType};
use half::{bf16, f16};

use crate::kernel::cpu::parallel;
use crate::kernel::cpu::parallel::CHUNK;
use crate::kernel::cpu::simd::vectorized;
use crate::kernel::elementwise;
use crate::tensor::{device, dims, elements};
use crate::{Result, bail};

/// `f` of each element of a slice.
pub fn mapped<T: Sync, U: Copy + Send>(elements: &[T], f: impl Fn(&T) -> U + Sync) -> Vec<U> {
    let fill = |out: &mut [MaybeUninit<U>]| {
        parallel::chunks(out, CHUNK, |piece, out| {
            each(&elements[piece * CHUNK..][..out.len()], out, &f)
        });
    };
    // SAFETY: the chunks cover the output, and `each` writes all of a chunk, since the elements have
    // its length.
    unsafe { elements::filled_vec(elements.len(), fill) }
}

vectorized! {
    fn each[T: Sync, U: Copy, F: Fn(&T) -> U](elements: &[T], out: &mut [MaybeUninit<U>], f: &F) {
        for (out, x) in out.iter_mut().zip(elements) {
            out.write(f(x));
        }
    }
}

/// `f` of each element of a tensor whose dtype is `T`.
///
/// # Errors
/// The dtype is not `T`, or a copy between devices fails.
pub fn map<T: WithDType, U: WithDType>(
    tensor: &Tensor,
    f: impl Fn(T) -> U + Sync,
) -> Result<Tensor> {
    Ok(elementwise::map(&here(tensor)?, f)?.to_device(tensor.device())?)
}

/// `f` of each element of a float tensor, computed in f64 and rounded once.
///
/// # Errors
/// The tensor is not of a float dtype, or a copy between devices fails.
pub fn map_float(tensor: &Tensor, f: impl Fn(f64) -> f64 + Sync) -> Result<Tensor> {
    match tensor.dtype() {
        DType::F16 => map(tensor, |x: f16| f16::from_f64(f(x.to_f64()))),
        DType::BF16 => map(tensor, |x: bf16| bf16::from_f64(f(x.to_f64()))),
        DType::F32 => map(tensor, |x: f32| f(x.into()) as f32),
        DType::F64 => map(tensor, f),
        other => bail!("expected a float tensor, not {}", other.as_str()),
    }
}

/// `f` of each pair of elements of two broadcast tensors whose dtype is `T`.
///
/// # Errors
/// The shapes do not broadcast, a dtype is not `T`, or a copy between devices fails.
pub fn zip<T: WithDType, U: WithDType>(
    a: &Tensor,
    b: &Tensor,
    f: impl Fn(T, T) -> U + Sync,
) -> Result<Tensor> {
    dims::broadcast(a.dims(), b.dims(), "element by element")?;
    let [x, y] = [here(a)?, here(b)?];
    Ok(elementwise::zip(&x, &y, f)?.to_device(a.device())?)
}

/// The tensor on the CPU, outside of any graph of gradients.
fn here(tensor: &Tensor) -> Result<Tensor> {
    Ok(device::transfer(tensor, &Device::Cpu)?.detach())
}

/// `f` of each pair of elements of two float tensors of one dtype, broadcast, worked out in double
/// precision.
pub fn zip_float(a: &Tensor, b: &Tensor, f: impl Fn(f64, f64) -> f64 + Sync) -> Result<Tensor> {
    match a.dtype() {
        DType::F16 => zip(a, b, |x: f16, y: f16| f16::from_f64(f(x.to_f64(), y.to_f64()))),
        DType::BF16 => zip(a, b, |x: bf16, y: bf16| bf16::from_f64(f(x.to_f64(), y.to_f64()))),
        DType::F32 => zip(a, b, |x: f32, y: f32| f(x.into(), y.into()) as f32),
        DType::F64 => zip(a, b, f),
        other => bail!("expected a float tensor, not {}", other.as_str()),
    }
}
