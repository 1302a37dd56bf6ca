//! Half precision to f32 and back, in parallel on the CPU, where candle converts with one thread.

use std::mem::MaybeUninit;

use candle_core::{DType, Device, Tensor, WithDType};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::fold::with_slice;
use super::kernel;
use crate::Result;
use crate::simd::vectorized;

/// Elements converted at a time.
const PIECE: usize = 1 << 14;

/// f16 and bf16 as f32, anything else as it is.
pub fn widen(tensor: &Tensor) -> Result<Tensor> {
    let cpu = tensor.device().is_cpu();
    match tensor.dtype() {
        DType::F16 if cpu => convert(tensor, |from: &[f16], to: &mut [f32]| from.convert_to_f32_slice(to)),
        DType::BF16 if cpu => convert(tensor, |from: &[bf16], to: &mut [f32]| from.convert_to_f32_slice(to)),
        DType::F16 | DType::BF16 => Ok(tensor.to_dtype(DType::F32)?),
        _ => Ok(tensor.clone()),
    }
}

/// An f32 or f64 tensor as `dtype`.
pub fn round(tensor: &Tensor, dtype: DType) -> Result<Tensor> {
    let here = tensor.device().is_cpu() && tensor.dtype() == DType::F32;
    match dtype {
        DType::F16 if here => convert(tensor, narrow),
        DType::BF16 if here => convert(tensor, |from: &[f32], to: &mut [bf16]| to.convert_from_f32_slice(from)),
        _ => Ok(tensor.to_dtype(dtype)?),
    }
}

fn convert<T: WithDType, U: WithDType>(tensor: &Tensor, f: impl Fn(&[T], &mut [U]) + Sync) -> Result<Tensor> {
    let converted = with_slice(tensor, |from: &[T]| {
        let fill = |to: &mut [MaybeUninit<U>]| {
            let pieces = to.par_chunks_mut(PIECE).zip(from.par_chunks(PIECE));
            pieces.for_each(|(to, from)| f(from, kernel::blanked(to, U::zero())));
        };
        // SAFETY: the pieces are all of it.
        unsafe { kernel::made(from.len(), fill) }
    })?;
    kernel::place(converted, tensor.dims(), &Device::Cpu)
}

vectorized! {
    fn narrow(from: &[f32], to: &mut [f16]) {
        for (to, &x) in to.iter_mut().zip(from) {
            *to = f16::from_bits(nearest(x));
        }
    }
}

/// The nearest half precision number, of two the even one, in bits: without branches, so that loops over it vectorise.
#[inline(always)]
fn nearest(x: f32) -> u16 {
    /// Where its last bit is worth the smallest half precision number.
    const SMALLEST: f32 = 0.5;
    /// 1 is the exponent 127 of one format and 15 of the other.
    const EXPONENTS: u32 = (127 - 15) << 23;
    let sign = x.to_bits() & 0x8000_0000;
    let size = x.to_bits() ^ sign;
    let normal = size.wrapping_sub(EXPONENTS).wrapping_add(0xfff + (size >> 13 & 1)) >> 13;
    let small = (f32::from_bits(size) + SMALLEST).to_bits().wrapping_sub(SMALLEST.to_bits());
    let bits = if size < EXPONENTS + (1 << 23) { small } else { normal };
    let bits = if size >= (127 + 16) << 23 { 0x7c00 } else { bits };
    let bits = if size > 0x7f80_0000 { 0x7e00 } else { bits };
    (bits | sign >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_number_is_rounded_to_the_nearest() {
        let ends = [f32::INFINITY, f32::NAN, 65519.9, 65520.0, 65504.0, 6.1e-5, 6.0e-8, 2.98e-8, 2.99e-8, 1e-40, 0.0];
        let some = (0..1 << 18).map(|i| f32::from_bits(i << 14 | (i * 7919) & 0x3fff));
        for x in ends.into_iter().chain(some) {
            for x in [x, -x] {
                let (own, other) = (f16::from_bits(nearest(x)), f16::from_f32(x));
                assert!(own.to_bits() == other.to_bits() || (own.is_nan() && other.is_nan()), "{x:e}");
            }
        }
    }

    #[test]
    fn converts_as_candle_does() {
        let x = Tensor::arange(-20000f32, 20000., &Device::Cpu).unwrap().affine(1.0 / 77.0, 3.0).unwrap();
        for dtype in [DType::F16, DType::BF16, DType::F64, DType::F32] {
            let narrow = x.to_dtype(dtype).unwrap();
            let numbers = |t: &Tensor| kernel::host::<f32>(&t.to_dtype(DType::F32).unwrap()).unwrap();
            assert_eq!(numbers(&round(&x, dtype).unwrap()), numbers(&narrow));
            let rows = narrow.reshape((2, ())).unwrap().t().unwrap();
            assert_eq!(numbers(&widen(&rows).unwrap()), numbers(&rows.contiguous().unwrap()));
        }
    }
}
