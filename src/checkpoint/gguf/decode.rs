//! Tensors of blocks as the Hub's checkpoints have them.

use std::borrow::Cow;

use candle_core::quantized::GgmlDType;
use candle_core::{CpuStorage, DType, Device, Tensor};

use super::header::Stored;
use super::names::Form;
use crate::checkpoint::decode::decode;
use crate::kernel::cpu::parallel;
use crate::{Result, bail, error};

/// The dtype that a tensor of unquantised elements has.
pub fn plain(dtype: GgmlDType) -> Option<DType> {
    match dtype {
        GgmlDType::F32 => Some(DType::F32),
        GgmlDType::F16 => Some(DType::F16),
        GgmlDType::BF16 => Some(DType::BF16),
        _ => None,
    }
}

/// The shape of a tensor in its checkpoint.
pub fn shape(stored: &Stored, form: Form) -> Vec<usize> {
    match (form, stored.shape.as_slice()) {
        (Form::Transposed, &[out, input]) => vec![input, out],
        (Form::Row(_), [_, rest @ ..]) => rest.to_vec(),
        _ => stored.shape.clone(),
    }
}

/// A tensor, whose bytes in the file are given, in `dtype` on the CPU.
///
/// # Errors
/// Its shape does not fit its form.
pub fn tensor(bytes: &[u8], stored: &Stored, form: Form, dtype: DType) -> Result<Tensor> {
    let whole = match plain(stored.dtype) {
        Some(plain) => decode(bytes, plain, false, &stored.shape, DType::F32)?,
        None => dequantised(bytes, stored)?,
    };
    let own = in_form(&whole, form).map_err(|_| {
        error!("its shape {:?} is not what the numbers of heads make it", stored.shape)
    })?;
    Ok(own.contiguous()?.to_dtype(dtype)?)
}

/// The elements of blocks in float32, on all cores.
fn dequantised(bytes: &[u8], stored: &Stored) -> Result<Tensor> {
    /// Elements of a task, a multiple of every block's.
    const EACH: usize = 1 << 14;
    let (dtype, count) = (stored.dtype, stored.shape.iter().product::<usize>());
    let size = |elements: usize| elements / dtype.block_size() * dtype.type_size();
    if bytes.len() != size(count) {
        bail!("it has {} bytes, which is not what its shape takes", bytes.len());
    }
    let mut elements = vec![0f32; count];
    parallel::chunks(&mut elements, EACH, |task, out| {
        let blocks = &bytes[size(task * EACH)..][..size(out.len())];
        let blocks = dtype.from_data(Cow::Borrowed(blocks));
        // candle gives float32 for every type of blocks.
        if let Ok(CpuStorage::F32(wide)) = blocks.dequantize(out.len()) {
            out.copy_from_slice(&wide);
        }
    });
    Ok(Tensor::from_vec(elements, stored.shape.as_slice(), &Device::Cpu)?)
}

fn in_form(whole: &Tensor, form: Form) -> candle_core::Result<Tensor> {
    let (rows, rest) = (whole.dim(0)?, &whole.dims()[1..]);
    let shaped = |dims: &[usize]| whole.reshape([dims, rest].concat());
    let even = |n: usize, parts: usize| match parts {
        0 => candle_core::bail!("no parts"),
        parts if n.is_multiple_of(parts) => Ok(n / parts),
        _ => candle_core::bail!("{n} in {parts} parts"),
    };
    match form {
        Form::Same => Ok(whole.clone()),
        Form::Interleaved(heads) => {
            let half = even(rows, 2 * heads)?;
            shaped(&[heads, half, 2])?.transpose(1, 2)?.contiguous()?.reshape(whole.shape())
        }
        Form::Ungrouped { heads, kv_heads } => {
            let head = even(rows, heads + 2 * kv_heads)?;
            let group = even(heads, kv_heads)?;
            let part = |first: usize, each: usize| {
                let rows = whole.narrow(0, first * head, kv_heads * each * head)?;
                rows.reshape([&[kv_heads, each * head], rest].concat())
            };
            let parts = [part(0, group)?, part(heads, 1)?, part(heads + kv_heads, 1)?];
            Tensor::cat(&parts, 1)?.reshape(whole.shape())
        }
        Form::Transposed => whole.t(),
        Form::MoreOne => whole - 1.0,
        Form::Row(row) => whole.get(row),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_blocks_is_what_candle_makes_of_it() {
        use GgmlDType::{Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
        let x = Tensor::randn(0f32, 1.0, (70, 512), &Device::Cpu).unwrap();
        for dtype in [Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2K, Q3K, Q4K, Q5K, Q6K] {
            let quantised = candle_core::quantized::QTensor::quantize(&x, dtype).unwrap();
            let expected = quantised.dequantize(&Device::Cpu).unwrap();
            let bytes = quantised.data().unwrap();
            let stored = Stored { dtype, shape: vec![70, 512], place: 0..bytes.len() };
            let got = tensor(&bytes, &stored, Form::Same, DType::F32).unwrap();
            let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(numbers(&got), numbers(&expected), "{dtype:?}");
            assert!(tensor(&bytes[1..], &stored, Form::Same, DType::F32).is_err());
        }
    }

    #[test]
    fn heads_that_do_not_divide_the_rows_are_an_error() {
        let bytes = [0u8; 24];
        let stored = Stored { dtype: GgmlDType::F32, shape: vec![6], place: 0..24 };
        for form in [
            Form::Interleaved(2),
            Form::Interleaved(0),
            Form::Ungrouped { heads: 4, kv_heads: 3 },
            Form::Ungrouped { heads: 0, kv_heads: 0 },
        ] {
            assert!(tensor(&bytes, &stored, form, DType::F32).is_err(), "{form:?}");
        }
    }
}
