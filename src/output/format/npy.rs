//! NumPy's .npy format, version 1.0 (`numpy.lib.format`).

use std::io::Write;

use candle_core::{DType, Device, Tensor};

use crate::tensor::transfer::bytes::to_le_bytes;
use crate::tensor::{Complex, Kind, Value, dims, dtype};
use crate::{Result, bail, error};

const MAGIC: &[u8] = b"\x93NUMPY";

/// Writes a tensor in C order and little-endian.
///
/// # Errors
/// A dtype that NumPy does not have (bf16), or `to` can't be written to.
pub fn write(value: &Value, to: &mut dyn Write) -> Result<()> {
    let descr = match value {
        Value::Bool(_) => "|b1",
        Value::Complex(c) if c.re.dtype() == DType::F32 => "<c8",
        Value::Complex(_) => "<c16",
        Value::Real(t) => match t.dtype() {
            DType::U8 => "|u1",
            DType::U32 => "<u4",
            DType::I64 => "<i8",
            DType::F16 => "<f2",
            DType::F32 => "<f4",
            DType::F64 => "<f8",
            other => {
                return Err(error!("NumPy has no {}", other.as_str())
                    .help("save .to(\"f32\"), or as .safetensors"));
            }
        },
    };
    let shape: String = value.dims().iter().map(|n| format!("{n},")).collect();
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    // The header is padded with spaces so that the data begins at a multiple of 64 bytes.
    let unpadded = MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let length =
        u16::try_from(header.len()).map_err(|_| error!("the tensor has too many dims for .npy"))?;
    let start = [MAGIC, &[1, 0], &length.to_le_bytes(), header.as_bytes()].concat();
    let data = to_le_bytes(value)?;
    to.write_all(&start).and_then(|()| to.write_all(&data)).map_err(|e| error!("{e}"))
}

/// Reads a tensor in C or Fortran order, of version 1.0 or later.
///
/// # Errors
/// Not a .npy file, a file that is cut short, or elements that tensors can't hold: objects, text,
/// big-endian numbers.
pub fn read(bytes: &[u8]) -> Result<Value> {
    let broken = |what: &str| error!("it is no .npy file that can be read: {what}");
    if !bytes.starts_with(MAGIC) || bytes.len() < 12 {
        return Err(broken("it does not begin as one"));
    }
    let (start, length) = match bytes[6] {
        1 => (10, usize::from(u16::from_le_bytes([bytes[8], bytes[9]]))),
        _ => (12, u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize),
    };
    let header =
        bytes.get(start..start + length).ok_or_else(|| broken("its header is cut short"))?;
    let header = std::str::from_utf8(header).map_err(|_| broken("its header is not text"))?;
    let descr =
        between(header, "'descr':", ",").ok_or_else(|| broken("its header has no descr"))?;
    let descr = descr.trim().trim_matches(['\'', '"']);
    let fortran =
        between(header, "'fortran_order':", ",").is_some_and(|value| value.trim() == "True");
    let shape =
        between(header, "'shape':", ")").ok_or_else(|| broken("its header has no shape"))?;
    let mut shape = shape
        .trim()
        .trim_start_matches('(')
        .split(',')
        .map(str::trim)
        .filter(|n| !n.is_empty())
        .map(|n| n.parse::<usize>().map_err(|_| broken("its shape is none")))
        .collect::<Result<Vec<_>>>()?;
    let data = &bytes[start + length..];
    if fortran {
        shape.reverse();
    }
    let value = decode(descr, &shape, data)
        .map_err(|e| error!("it is no .npy file that can be read: {}", e.message()))?;
    if !fortran || shape.len() < 2 {
        return Ok(value);
    }
    let order: Vec<usize> = (0..shape.len()).rev().collect();
    value.map(|t| t.permute(order.as_slice())?.contiguous())
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    rest.split(end).next()
}

fn decode(descr: &str, shape: &[usize], data: &[u8]) -> Result<Value> {
    dims::check_size(shape)?;
    let elements: usize = shape.iter().product();
    let raw = |dtype: DType, shape: &[usize]| -> Result<Tensor> {
        let elements: usize = shape.iter().product();
        let wanted = elements * dtype.size_in_bytes();
        match data.get(..wanted) {
            Some(data) => Ok(Tensor::from_raw_buffer(data, dtype, shape, &Device::Cpu)?),
            None => bail!("it has {} bytes of data, and its shape wants {wanted}", data.len()),
        }
    };
    if elements > data.len() {
        bail!("it has {} bytes of data for {elements} elements", data.len());
    }
    let complex = |dtype: DType| -> Result<Value> {
        let pairs = raw(dtype, &[shape, &[2]].concat())?;
        let part = |at: usize| pairs.narrow(shape.len(), at, 1)?.squeeze(shape.len())?.contiguous();
        Ok(Value::Complex(Complex { re: part(0)?, im: part(1)? }))
    };
    let real = |dtype: DType| raw(dtype, shape).map(Value::Real);
    match descr {
        // Any byte other than 0 is true.
        "|b1" => dtype::cast(&Value::Real(raw(DType::U8, shape)?), Kind::Bool),
        "|u1" | "<u1" => real(DType::U8),
        "<u4" => real(DType::U32),
        "<i2" => Ok(Value::Real(raw(DType::I16, shape)?.to_dtype(DType::I64)?)),
        "<i4" => Ok(Value::Real(raw(DType::I32, shape)?.to_dtype(DType::I64)?)),
        "<i8" => real(DType::I64),
        "<f2" => real(DType::F16),
        "<f4" => real(DType::F32),
        "<f8" => real(DType::F64),
        "<c8" => complex(DType::F32),
        "<c16" => complex(DType::F64),
        other => bail!("its numbers are {other:?}, which tensors can't hold"),
    }
}
