//! Conversion of half precision to f32 and back, in parallel on the CPU: candle converts on one
//! thread.

use std::mem::MaybeUninit;

use candle_core::{DType, Result, Tensor, WithDType};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::cpu::parallel;
use super::cpu::parallel::CHUNK;
use super::elements::{Elements, fill_with, filled_tensor, with_slice};

/// Converts f16 and bf16 to f32, and leaves other dtypes as they are.
///
/// # Errors
/// There is no memory for the result.
pub fn widen(tensor: &Tensor) -> Result<Tensor> {
    match tensor.dtype() {
        DType::F16 if Elements::<f16>::fit(tensor) => {
            convert(tensor, |from: &[f16], to: &mut [f32]| from.convert_to_f32_slice(to))
        }
        DType::BF16 if Elements::<bf16>::fit(tensor) => {
            convert(tensor, |from: &[bf16], to: &mut [f32]| from.convert_to_f32_slice(to))
        }
        DType::F16 | DType::BF16 => tensor.to_dtype(DType::F32),
        _ => Ok(tensor.clone()),
    }
}

/// Converts an f32 or f64 tensor to `dtype`.
///
/// # Errors
/// There is no memory for the result.
pub fn round(tensor: &Tensor, dtype: DType) -> Result<Tensor> {
    let here = Elements::<f32>::fit(tensor);
    match dtype {
        DType::F16 if here => {
            convert(tensor, |from: &[f32], to: &mut [f16]| to.convert_from_f32_slice(from))
        }
        DType::BF16 if here => {
            convert(tensor, |from: &[f32], to: &mut [bf16]| to.convert_from_f32_slice(from))
        }
        _ => tensor.to_dtype(dtype),
    }
}

fn convert<T: WithDType, U: WithDType>(
    tensor: &Tensor,
    f: impl Fn(&[T], &mut [U]) + Sync,
) -> Result<Tensor> {
    with_slice(tensor, |from: &[T]| {
        let fill = |to: &mut [MaybeUninit<U>]| {
            parallel::chunks(to, CHUNK, |piece, to| {
                let from = &from[piece * CHUNK..][..to.len()];
                f(from, fill_with(to, U::zero()));
            });
        };
        // SAFETY: the chunks cover the output, and `fill_with` initialises each.
        unsafe { filled_tensor(tensor.shape().clone(), fill) }
    })?
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn converts_as_candle_does() {
        let x = Tensor::arange(-20000f32, 20000., &Device::Cpu)
            .unwrap()
            .affine(1.0 / 77.0, 3.0)
            .unwrap();
        for dtype in [DType::F16, DType::BF16, DType::F64, DType::F32] {
            let narrow = x.to_dtype(dtype).unwrap();
            let numbers = |t: &Tensor| {
                let wide = t.to_dtype(DType::F32).unwrap();
                wide.flatten_all().unwrap().to_vec1::<f32>().unwrap()
            };
            assert_eq!(numbers(&round(&x, dtype).unwrap()), numbers(&narrow));
            let rows = narrow.reshape((2, ())).unwrap().t().unwrap();
            assert_eq!(numbers(&widen(&rows).unwrap()), numbers(&rows.contiguous().unwrap()));
        }
    }
}
