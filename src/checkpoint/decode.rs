//! Decodes the bytes of a tensor in a file.

use std::borrow::Cow;

use candle_core::{DType, Device, Tensor};
use half::slice::HalfFloatSliceExt;

use crate::kernel::cpu::parallel;
use crate::kernel::cpu::parallel::CHUNK;
use crate::{Result, bail};

/// Decodes little-endian elements of the dtype `stored` as a tensor in `dtype` on the CPU. With
/// `bools` each element is a byte, and any but 0 is true.
///
/// # Errors
/// `data` does not have as many bytes as the shape takes, or the shape is larger than memory can
/// be.
pub fn decode(
    data: &[u8],
    stored: DType,
    bools: bool,
    shape: &[usize],
    dtype: DType,
) -> Result<Tensor> {
    // Strides are products of the dims and must not overflow either, not even in an empty tensor.
    let strides = shape.iter().try_fold(8usize, |all, n| all.checked_mul((*n).max(1)));
    let Some(_) = strides.filter(|bytes| isize::try_from(*bytes).is_ok()) else {
        bail!("its shape {shape:?} is larger than memory can be")
    };
    if shape.iter().product::<usize>() * stored.size_in_bytes() != data.len() {
        bail!("it has {} bytes, which is not what the shape {shape:?} takes", data.len());
    }
    if dtype == DType::F32
        && let Some(wide) = widen(data, stored, shape)?
    {
        return Ok(wide);
    }
    let data = match bools {
        true => Cow::Owned(data.iter().map(|&byte| u8::from(byte != 0)).collect()),
        false => Cow::Borrowed(data),
    };
    Ok(Tensor::from_raw_buffer(&data, stored, shape, &Device::Cpu)?.to_dtype(dtype)?)
}

/// Decodes f16 and bf16 as f32 on all cores, without a copy in half precision; nothing for other
/// dtypes.
fn widen(data: &[u8], stored: DType, shape: &[usize]) -> Result<Option<Tensor>> {
    if !matches!(stored, DType::F16 | DType::BF16) {
        return Ok(None);
    }
    let mut wide = vec![0f32; data.len() / 2];
    parallel::chunks(&mut wide, CHUNK, |chunk, wide| {
        let bytes = &data[2 * chunk * CHUNK..][..2 * wide.len()];
        let bits = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        if stored == DType::F16 {
            let halves: Vec<half::f16> = bits.map(half::f16::from_bits).collect();
            halves.convert_to_f32_slice(wide);
        } else {
            let halves: Vec<half::bf16> = bits.map(half::bf16::from_bits).collect();
            halves.convert_to_f32_slice(wide);
        }
    });
    Ok(Some(Tensor::from_vec(wide, shape, &Device::Cpu)?))
}
