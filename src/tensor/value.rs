//! An n-dimensional array as scripts see it: candle's tensor, and the two kinds candle lacks.

use candle_core::{DType, Device, Storage, Tensor};

use super::elementwise::loops;
use crate::{Result, error};

/// A real, bool or complex tensor.
///
/// `Real` holds f32, f64, f16, bf16, i64, u32 or u8. `Bool` holds zeros and ones as u8 (candle has
/// no bool).
#[derive(Debug, Clone)]
pub enum Value {
    Real(Tensor),
    Bool(Tensor),
    Complex(Complex),
}

/// Real and imaginary parts, of one shape, dtype (f32 or f64) and device.
#[derive(Debug, Clone)]
pub struct Complex {
    pub re: Tensor,
    pub im: Tensor,
}

impl Value {
    /// The shape, outermost dim first.
    pub fn dims(&self) -> &[usize] {
        self.parts()[0].dims()
    }

    pub fn rank(&self) -> usize {
        self.dims().len()
    }

    pub fn numel(&self) -> usize {
        self.dims().iter().product()
    }

    /// What the elements take where each is stored once.
    pub fn bytes(&self) -> usize {
        self.parts().iter().map(|t| self.numel().saturating_mul(t.dtype().size_in_bytes())).sum()
    }

    /// # Errors
    /// A result with as many elements is more than may be held.
    pub fn check_copy(&self) -> Result<()> {
        super::budget::check(self.dims(), self.bytes())
    }

    pub fn device(&self) -> &Device {
        self.parts()[0].device()
    }

    /// The contract's name of the dtype: `f32`, …, `bool`, `c64` or `c128`.
    pub fn dtype_name(&self) -> &'static str {
        match self {
            Value::Real(t) => t.dtype().as_str(),
            Value::Bool(_) => "bool",
            Value::Complex(c) if c.re.dtype() == DType::F64 => "c128",
            Value::Complex(_) => "c64",
        }
    }

    /// The candle tensors this value is made of: one, or real and imaginary.
    pub fn parts(&self) -> Vec<&Tensor> {
        match self {
            Value::Real(t) | Value::Bool(t) => vec![t],
            Value::Complex(c) => vec![&c.re, &c.im],
        }
    }

    /// The same kind of value with `f` applied to each of its tensors: for operations that only
    /// move elements.
    pub fn map_parts(&self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Value> {
        Ok(match self {
            Value::Real(t) => Value::Real(f(t)?),
            Value::Bool(t) => Value::Bool(f(t)?),
            Value::Complex(c) => Value::Complex(Complex { re: f(&c.re)?, im: f(&c.im)? }),
        })
    }

    /// The same, by operations of candle's.
    pub fn map(&self, mut f: impl FnMut(&Tensor) -> candle_core::Result<Tensor>) -> Result<Value> {
        // candle reads an empty view at its offset, which may lie beyond the end of the storage.
        let mut f = |t: &Tensor| match f(t)? {
            t if t.elem_count() == 0 && t.layout().start_offset() > 0 => {
                Tensor::zeros(t.shape(), t.dtype(), t.device())
            }
            t => Ok(t),
        };
        Ok(match self {
            Value::Real(t) => Value::Real(f(t)?),
            Value::Bool(t) => Value::Bool(f(t)?),
            Value::Complex(c) => Value::Complex(Complex { re: f(&c.re)?, im: f(&c.im)? }),
        })
    }

    /// The tensor of a real or bool value (bool as u8); `what` names the operation that needs it.
    pub fn real(&self, what: &str) -> Result<&Tensor> {
        match self {
            Value::Real(t) | Value::Bool(t) => Ok(t),
            Value::Complex(_) => Err(error!("{what} needs a real tensor, and this one is complex")
                .help("take .real, .imag, .abs() or .angle() first")),
        }
    }

    /// Where the elements are stored: values with an address in common share storage.
    pub fn addresses(&self) -> Vec<usize> {
        self.parts()
            .into_iter()
            .map(|t| {
                let (storage, _layout) = t.storage_and_layout();
                std::ptr::from_ref::<Storage>(&storage) as usize
            })
            .collect()
    }

    /// A contiguous copy in storage of its own.
    pub fn deep_copy(&self) -> Result<Value> {
        self.map_parts(loops::copied)
    }
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Value::Real(tensor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_view_can_be_read() {
        let x = Value::Real(Tensor::zeros((0, 3), DType::F32, &Device::Cpu).unwrap());
        let view = x.map(|t| t.narrow(1, 2, 1)).unwrap();
        assert_eq!(view.dims(), [0, 1]);
        assert!(view.parts()[0].flatten_all().unwrap().to_vec1::<f32>().unwrap().is_empty());
    }
}
