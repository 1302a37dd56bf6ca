//! A value's elements as bytes, in the order and encoding that the file formats share.

use candle_core::{DType, Device, Tensor};

use crate::tensor::Value;
use crate::{Result, bail};

/// The elements in row-major order, little-endian: a bool as one byte, a complex number as its real
/// part and then its imaginary part.
///
/// # Errors
/// A dtype that no file format here has, or a device that can't be read.
pub fn to_le_bytes(value: &Value) -> Result<Vec<u8>> {
    fn all<T, const N: usize>(items: Vec<T>, bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
        items.into_iter().flat_map(bytes).collect()
    }
    let t = match value {
        Value::Complex(c) => {
            let (re, im) = (
                c.re.to_device(&Device::Cpu)?.flatten_all()?,
                c.im.to_device(&Device::Cpu)?.flatten_all()?,
            );
            return to_le_bytes(&Value::Real(Tensor::stack(&[re, im], 1)?));
        }
        Value::Real(t) | Value::Bool(t) => t.to_device(&Device::Cpu)?.flatten_all()?,
    };
    Ok(match t.dtype() {
        DType::U8 => t.to_vec1::<u8>()?,
        DType::U32 => all(t.to_vec1::<u32>()?, u32::to_le_bytes),
        DType::I64 => all(t.to_vec1::<i64>()?, i64::to_le_bytes),
        DType::F16 => all(t.to_vec1::<half::f16>()?, half::f16::to_le_bytes),
        DType::BF16 => all(t.to_vec1::<half::bf16>()?, half::bf16::to_le_bytes),
        DType::F32 => all(t.to_vec1::<f32>()?, f32::to_le_bytes),
        DType::F64 => all(t.to_vec1::<f64>()?, f64::to_le_bytes),
        other => bail!("{} can't be written", other.as_str()),
    })
}
