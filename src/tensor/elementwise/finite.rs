//! `isnan`, `isinf` and `isfinite`.

use candle_core::{Tensor, WithDType};

use super::loops;
use crate::Result;
use crate::tensor::Value;
use crate::tensor::elements::by_dtype;

/// A class of floating-point numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatClass {
    /// NaN.
    Nan,
    /// Positive or negative infinity.
    Infinite,
    /// Neither NaN nor infinite.
    Finite,
}

impl FloatClass {
    /// The functions of scripts that test for each class.
    pub const ALL: [(&'static str, FloatClass); 3] = [
        ("isnan", FloatClass::Nan),
        ("isinf", FloatClass::Infinite),
        ("isfinite", FloatClass::Finite),
    ];

    /// Whether `x` is in the class.
    pub fn of_number(self, x: f64) -> bool {
        match self {
            FloatClass::Nan => x.is_nan(),
            FloatClass::Infinite => x.is_infinite(),
            FloatClass::Finite => x.is_finite(),
        }
    }

    /// Whether each element is in the class: a bool tensor. As in PyTorch, a complex number is NaN
    /// or infinite if either part is, and finite if both parts are.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn apply(self, value: &Value) -> Result<Value> {
        let of = |t: &Tensor| by_dtype!(t, T => loops::map(t, |x: T| u8::from(self.of_number(x.to_f64()))));
        Ok(Value::Bool(match value {
            Value::Real(t) | Value::Bool(t) => of(t)?,
            Value::Complex(c) if self == FloatClass::Finite => of(&c.re)?.minimum(&of(&c.im)?)?,
            Value::Complex(c) => of(&c.re)?.maximum(&of(&c.im)?)?,
        }))
    }
}
