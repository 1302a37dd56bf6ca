//! Which elements are numbers at all: `isnan`, `isinf`, `isfinite`.

use candle_core::{Tensor, WithDType};

use super::loops;
use super::loops::by_dtype;
use crate::Result;
use crate::tensor::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finite {
    Nan,
    Infinite,
    Finite,
}

impl Finite {
    pub const ALL: [(&'static str, Finite); 3] =
        [("isnan", Finite::Nan), ("isinf", Finite::Infinite), ("isfinite", Finite::Finite)];

    pub fn of_number(self, x: f64) -> bool {
        match self {
            Finite::Nan => x.is_nan(),
            Finite::Infinite => x.is_infinite(),
            Finite::Finite => x.is_finite(),
        }
    }

    /// A bool for each element: of a complex number what holds of either part, and for `isfinite`
    /// of both.
    pub fn apply(self, value: &Value) -> Result<Value> {
        let of = |t: &Tensor| by_dtype!(t, T => loops::map(t, |x: T| u8::from(self.of_number(x.to_f64()))));
        Ok(Value::Bool(match value {
            Value::Real(t) | Value::Bool(t) => of(t)?,
            Value::Complex(c) if self == Finite::Finite => of(&c.re)?.minimum(&of(&c.im)?)?,
            Value::Complex(c) => of(&c.re)?.maximum(&of(&c.im)?)?,
        }))
    }
}
