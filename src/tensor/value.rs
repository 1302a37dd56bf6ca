//! [`Value`], an n-dimensional array: a candle tensor, or one of the two element types that candle
//! lacks, bool and complex.

use candle_core::{DType, Device, Tensor};

use super::elements;
use crate::kernel::elements::address;
use crate::{Result, error};

/// A tensor of real, bool or complex elements. Cloning shares the storage.
#[derive(Debug, Clone)]
pub enum Value {
    /// f32, f64, f16, bf16, i64, u32 or u8.
    Real(Tensor),
    /// Bools as u8, every element 0 or 1.
    Bool(Tensor),
    /// c64 or c128.
    Complex(Complex),
}

/// A complex tensor as two real ones of the same shape, dtype (f32 or f64) and device.
#[derive(Debug, Clone)]
pub struct Complex {
    /// The real part.
    pub re: Tensor,
    /// The imaginary part.
    pub im: Tensor,
}

impl Value {
    /// The shape, outermost dim first.
    pub fn dims(&self) -> &[usize] {
        self.parts()[0].dims()
    }

    /// The number of dims.
    pub fn rank(&self) -> usize {
        self.dims().len()
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        self.dims().iter().product()
    }

    /// The size in bytes of a contiguous copy.
    pub fn bytes(&self) -> usize {
        self.parts().iter().map(|t| self.numel().saturating_mul(t.dtype().size_in_bytes())).sum()
    }

    /// Checks that a contiguous copy fits in the memory limit.
    ///
    /// # Errors
    /// It does not; see [`budget::check`](super::budget::check).
    pub fn check_copy(&self) -> Result<()> {
        super::budget::check(self.dims(), self.bytes())
    }

    /// The device of the storage.
    pub fn device(&self) -> &Device {
        self.parts()[0].device()
    }

    /// The name of the dtype in scripts: `f32`, …, `bool`, `c64` or `c128`.
    pub fn dtype_name(&self) -> &'static str {
        match self {
            Value::Real(t) => t.dtype().as_str(),
            Value::Bool(_) => "bool",
            Value::Complex(c) if c.re.dtype() == DType::F64 => "c128",
            Value::Complex(_) => "c64",
        }
    }

    /// The candle tensors of this value: one, or the real and the imaginary part.
    pub fn parts(&self) -> Vec<&Tensor> {
        match self {
            Value::Real(t) | Value::Bool(t) => vec![t],
            Value::Complex(c) => vec![&c.re, &c.im],
        }
    }

    /// Applies `f` to each of the value's tensors and keeps the variant: for operations that only
    /// move elements.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map_parts(&self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Value> {
        Ok(match self {
            Value::Real(t) => Value::Real(f(t)?),
            Value::Bool(t) => Value::Bool(f(t)?),
            Value::Complex(c) => Value::Complex(Complex { re: f(&c.re)?, im: f(&c.im)? }),
        })
    }

    /// [`map_parts`](Self::map_parts) for an `f` made of candle's own operations.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map(&self, mut f: impl FnMut(&Tensor) -> candle_core::Result<Tensor>) -> Result<Value> {
        // candle slices the storage at the view's offset even if the view is empty, and panics if
        // the offset lies beyond the end of the storage. An empty tensor of its own avoids that.
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

    /// The tensor of a real or bool value (bool as u8). `what` names the operation in the error.
    ///
    /// # Errors
    /// The value is complex.
    pub fn real(&self, what: &str) -> Result<&Tensor> {
        match self {
            Value::Real(t) | Value::Bool(t) => Ok(t),
            Value::Complex(_) => Err(error!("{what} needs a real tensor, and this one is complex")
                .help("take .real, .imag, .abs() or .angle() first")),
        }
    }

    /// Whether it is a variable or was computed from one, so that gradients reach it.
    pub fn is_tracked(&self) -> bool {
        match self {
            // Integers have no gradients, whatever they were computed from.
            Value::Real(t) => t.track_op() && t.dtype().is_float(),
            Value::Bool(_) => false,
            Value::Complex(c) => c.re.track_op() || c.im.track_op(),
        }
    }

    /// Whether it is a variable, whose storage an optimiser writes in place.
    pub fn has_variable(&self) -> bool {
        match self {
            Value::Real(t) => t.is_variable(),
            Value::Bool(_) => false,
            Value::Complex(c) => c.re.is_variable() || c.im.is_variable(),
        }
    }

    /// The same elements, outside of the graph of gradients.
    pub fn detach(&self) -> Value {
        match self {
            Value::Real(t) => Value::Real(t.detach()),
            Value::Bool(t) => Value::Bool(t.detach()),
            Value::Complex(c) => Value::Complex(Complex { re: c.re.detach(), im: c.im.detach() }),
        }
    }

    /// The addresses of the storages. Values that share a storage have an address in common.
    pub fn addresses(&self) -> Vec<usize> {
        self.parts().into_iter().map(address).collect()
    }

    /// A contiguous copy in storage of its own.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn deep_copy(&self) -> Result<Value> {
        self.map_parts(elements::contiguous_copy)
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
