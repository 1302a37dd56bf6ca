//! The elements of candle tensors as Rust slices and vectors, and tensors made of them.

use candle_core::{Device, Tensor, WithDType};

use super::device;
use crate::Result;
use crate::kernel::cpu::parallel;
pub use crate::kernel::elements::{fill_with, filled_vec, with_slice};

/// Evaluates `$body` with the type alias `$T` for the element type of the candle tensor `$tensor`.
///
/// `$body` must be a [`Result`](crate::Result); a dtype that [`Kind`](super::Kind) does not have is
/// an error.
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
pub(crate) use by_dtype;

/// The elements in row-major order, copied to host memory.
///
/// # Errors
/// The dtype is not `T`, or the copy from the device fails.
pub fn to_vec<T: WithDType>(tensor: &Tensor) -> Result<Vec<T>> {
    Ok(device::transfer(tensor, &Device::Cpu)?.flatten_all()?.to_vec1()?)
}

/// A tensor on `device` of shape `dims`, from its elements in row-major order.
///
/// # Errors
/// The number of elements does not match `dims`, or the copy to the device fails.
pub fn from_vec<T: WithDType>(elements: Vec<T>, dims: &[usize], device: &Device) -> Result<Tensor> {
    Ok(Tensor::from_vec(elements, dims, &Device::Cpu)?.to_device(device)?)
}

/// A copy in row-major order, in storage of its own. A CPU tensor whose last two dims are
/// transposed is copied tile by tile, which is faster than candle's strided copy.
///
/// # Errors
/// The dtype is not one of [`Kind`](super::Kind)'s, or there is no memory.
pub fn contiguous_copy(tensor: &Tensor) -> Result<Tensor> {
    let rank = tensor.rank();
    let turned =
        rank >= 2 && tensor.device().is_cpu() && !tensor.is_contiguous() && !tensor.track_op();
    let straight = match turned {
        true => {
            Some(tensor.transpose(rank - 2, rank - 1)?).filter(|straight| straight.is_contiguous())
        }
        false => None,
    };
    match straight {
        Some(straight) => by_dtype!(tensor, T => turn::<T>(&straight, tensor.dims())),
        None => Ok(tensor.force_contiguous()?),
    }
}

/// `straight`, a contiguous tensor, with its last two dims swapped: a contiguous tensor of shape
/// `dims`.
fn turn<T: WithDType>(straight: &Tensor, dims: &[usize]) -> Result<Tensor> {
    /// Rows and columns of one tile: so few that the cache lines of a tile stay in the L1 cache.
    const TILE: usize = 32;
    let (rows, columns) = (dims[dims.len() - 2], dims[dims.len() - 1]);
    let out = with_slice(straight, |from: &[T]| {
        let mut out = vec![T::zero(); from.len()];
        if out.is_empty() {
            return out;
        }
        parallel::chunks(&mut out, TILE * columns, |tile, out| {
            // The rows of a tile may belong to two matrices, so each row is located on its own.
            let first = tile * TILE;
            for start in (0..columns).step_by(TILE) {
                let end = (start + TILE).min(columns);
                for (row, out) in out.chunks_mut(columns).enumerate() {
                    let (matrix, row) = ((first + row) / rows, (first + row) % rows);
                    let from = &from[matrix * rows * columns + row..];
                    for (column, out) in (start..end).zip(&mut out[start..end]) {
                        *out = from[column * rows];
                    }
                }
            }
        });
        out
    })?;
    from_vec(out, dims, straight.device())
}
