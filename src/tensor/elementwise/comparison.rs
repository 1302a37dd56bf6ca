//! The comparisons `== != < <= > >=`, which give bool tensors.

use candle_core::Tensor;

use super::loops;
use crate::tensor::elements::by_dtype;
use crate::tensor::operand::{Number, Operand};
use crate::tensor::{Kind, Value, creation, dims, operand};
use crate::{Result, error};

/// A comparison of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `==`.
    Eq,
    /// `!=`.
    Ne,
    /// `<`.
    Lt,
    /// `<=`.
    Le,
    /// `>`.
    Gt,
    /// `>=`.
    Ge,
}

impl Comparison {
    /// The operator of scripts, for errors.
    pub fn name(self) -> &'static str {
        match self {
            Comparison::Eq => "==",
            Comparison::Ne => "!=",
            Comparison::Lt => "<",
            Comparison::Le => "<=",
            Comparison::Gt => ">",
            Comparison::Ge => ">=",
        }
    }

    /// Compares each pair of elements of the broadcast operands: a bool tensor.
    ///
    /// # Errors
    /// The shapes do not broadcast; the tensors are on different devices; complex tensors are
    /// compared by order.
    pub fn apply<'a>(self, a: impl Into<Operand<'a>>, b: impl Into<Operand<'a>>) -> Result<Value> {
        let (a, b) = (a.into(), b.into());
        let kind = match operand::promote(a, b) {
            // An integer may be out of range for the tensor's dtype; i64 holds both sides.
            Kind::U8 | Kind::U32 if is_int(a) || is_int(b) => Kind::I64,
            kind => kind,
        };
        let device = operand::common_device(a, b, self.name())?;
        let shape = dims::broadcast(a.dims(), b.dims(), self.name())?;
        if shape.contains(&0) {
            return creation::zeros(&shape, Kind::Bool, &device);
        }
        if !matches!(kind, Kind::C64 | Kind::C128) {
            return Ok(Value::Bool(
                self.tensors(&a.tensor(kind, &device)?, &b.tensor(kind, &device)?)?,
            ));
        }
        let ((a, ai), (b, bi)) = (a.parts(kind, &device)?, b.parts(kind, &device)?);
        let imaginary = |im: Option<Tensor>, re: &Tensor| im.map_or_else(|| re.zeros_like(), Ok);
        let re = self.tensors(&a, &b)?;
        let im = self.tensors(&imaginary(ai, &a)?, &imaginary(bi, &b)?)?;
        match self {
            Comparison::Eq => Ok(Value::Bool(re.minimum(&im)?)),
            Comparison::Ne => Ok(Value::Bool(re.maximum(&im)?)),
            _ => Err(error!("{} has no meaning for complex tensors", self.name())
                .help("take .real, .imag, .abs() or .angle() first")),
        }
    }

    fn tensors(self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        if a.device().is_cpu() {
            return by_dtype!(a, T => match self {
                Comparison::Eq => loops::zip(a, b, |x: T, y: T| u8::from(x == y)),
                Comparison::Ne => loops::zip(a, b, |x: T, y: T| u8::from(x != y)),
                Comparison::Lt => loops::zip(a, b, |x: T, y: T| u8::from(x < y)),
                Comparison::Le => loops::zip(a, b, |x: T, y: T| u8::from(x <= y)),
                Comparison::Gt => loops::zip(a, b, |x: T, y: T| u8::from(x > y)),
                Comparison::Ge => loops::zip(a, b, |x: T, y: T| u8::from(x >= y)),
            });
        }
        Ok(match self {
            Comparison::Eq => a.broadcast_eq(b)?,
            Comparison::Ne => a.broadcast_ne(b)?,
            Comparison::Lt => a.broadcast_lt(b)?,
            Comparison::Le => a.broadcast_le(b)?,
            Comparison::Gt => a.broadcast_gt(b)?,
            Comparison::Ge => a.broadcast_ge(b)?,
        })
    }
}

fn is_int(side: Operand) -> bool {
    matches!(side, Operand::Number(Number::Int(_)))
}
