//! Element-wise loops on the CPU, in parallel, for what candle has no kernel for or a wrong one. A tensor on another
//! device travels there and back.

use candle_core::{DType, Device, Tensor, WithDType};
use half::{bf16, f16};
use rayon::prelude::*;

use super::{device, dims};
use crate::{Result, bail};

/// Runs `$body` with `$T` standing for the element type of `$tensor`.
macro_rules! by_dtype {
    ($tensor:expr, $T:ident => $body:expr) => {
        match $tensor.dtype() {
            candle_core::DType::U8 => {
                type $T = u8;
                $body
            }
            candle_core::DType::U32 => {
                type $T = u32;
                $body
            }
            candle_core::DType::I64 => {
                type $T = i64;
                $body
            }
            candle_core::DType::F16 => {
                type $T = half::f16;
                $body
            }
            candle_core::DType::BF16 => {
                type $T = half::bf16;
                $body
            }
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            other => Err($crate::error!("a tensor of {} is not supported here", other.as_str())),
        }
    };
}
pub(super) use by_dtype;

/// Fewer elements than this are not worth a second thread.
const CHUNK: usize = 1 << 14;

/// The elements in row-major order, in host memory.
pub fn host<T: WithDType>(tensor: &Tensor) -> Result<Vec<T>> {
    Ok(device::transfer(tensor, &Device::Cpu)?.flatten_all()?.to_vec1()?)
}

/// `f` of each element.
pub fn map<T: WithDType, U: WithDType>(tensor: &Tensor, f: impl Fn(T) -> U + Sync) -> Result<Tensor> {
    let elements = host::<T>(tensor)?;
    let out: Vec<U> = elements.par_iter().with_min_len(CHUNK).map(|&x| f(x)).collect();
    place(out, tensor.dims(), tensor.device())
}

/// `f` of each element of a float tensor, worked out in double precision.
pub fn map_float(tensor: &Tensor, f: impl Fn(f64) -> f64 + Sync) -> Result<Tensor> {
    match tensor.dtype() {
        DType::F16 => map(tensor, |x: f16| f16::from_f64(f(x.to_f64()))),
        DType::BF16 => map(tensor, |x: bf16| bf16::from_f64(f(x.to_f64()))),
        DType::F32 => map(tensor, |x: f32| f(x.into()) as f32),
        DType::F64 => map(tensor, f),
        other => bail!("expected a float tensor, not {}", other.as_str()),
    }
}

/// `f` of each pair of elements of two tensors of one dtype, broadcast.
pub fn zip<T: WithDType, U: WithDType>(a: &Tensor, b: &Tensor, f: impl Fn(T, T) -> U + Sync) -> Result<Tensor> {
    let shape = dims::broadcast(a.dims(), b.dims(), "element by element")?;
    let out: Vec<U> = match (a.elem_count(), b.elem_count()) {
        (_, 1) => {
            let y = host::<T>(b)?[0];
            host::<T>(a)?.par_iter().with_min_len(CHUNK).map(|&x| f(x, y)).collect()
        }
        (1, _) => {
            let x = host::<T>(a)?[0];
            host::<T>(b)?.par_iter().with_min_len(CHUNK).map(|&y| f(x, y)).collect()
        }
        _ => {
            let xs = host::<T>(&a.broadcast_as(shape.as_slice())?)?;
            let ys = host::<T>(&b.broadcast_as(shape.as_slice())?)?;
            xs.par_iter().with_min_len(CHUNK).zip(&ys).map(|(&x, &y)| f(x, y)).collect()
        }
    };
    place(out, &shape, a.device())
}

/// `f` of each pair of elements of two float tensors of one dtype, broadcast, worked out in double precision.
pub fn zip_float(a: &Tensor, b: &Tensor, f: impl Fn(f64, f64) -> f64 + Sync) -> Result<Tensor> {
    match a.dtype() {
        DType::F16 => zip(a, b, |x: f16, y: f16| f16::from_f64(f(x.to_f64(), y.to_f64()))),
        DType::BF16 => zip(a, b, |x: bf16, y: bf16| bf16::from_f64(f(x.to_f64(), y.to_f64()))),
        DType::F32 => zip(a, b, |x: f32, y: f32| f(x.into(), y.into()) as f32),
        DType::F64 => zip(a, b, f),
        other => bail!("expected a float tensor, not {}", other.as_str()),
    }
}

/// A tensor of host elements, on `device`.
pub fn place<T: WithDType>(elements: Vec<T>, dims: &[usize], device: &Device) -> Result<Tensor> {
    Ok(Tensor::from_vec(elements, dims, &Device::Cpu)?.to_device(device)?)
}
