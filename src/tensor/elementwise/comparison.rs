//! Comparisons, which are exact and give bools, and `& | ^ !` on bools and the bits of integers.

use candle_core::Tensor;

use super::arithmetic::empty;
use super::integer::Integer;
use super::loops;
use super::loops::by_dtype;
use crate::tensor::operand::{Number, Operand};
use crate::tensor::{Kind, Value, dims, operand};
use crate::{Result, error};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Comparison {
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

    /// `a op b` for each pair, broadcast: a bool tensor.
    ///
    /// # Errors
    /// Shapes that do not broadcast, two devices, an order among complex numbers.
    pub fn apply<'a>(self, a: impl Into<Operand<'a>>, b: impl Into<Operand<'a>>) -> Result<Value> {
        let (a, b) = (a.into(), b.into());
        let kind = match operand::promote(a, b) {
            // An integer that the tensor's dtype cannot hold still compares as what it is.
            Kind::U8 | Kind::U32 if is_int(a) || is_int(b) => Kind::I64,
            kind => kind,
        };
        let device = operand::common_device(a, b, self.name())?;
        let shape = dims::broadcast(a.dims(), b.dims(), self.name())?;
        if shape.contains(&0) {
            return empty(&shape, Kind::Bool, &device);
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logic {
    And,
    Or,
    Xor,
}

impl Logic {
    pub fn name(self) -> &'static str {
        match self {
            Logic::And => "&",
            Logic::Or => "|",
            Logic::Xor => "^",
        }
    }

    /// `a op b`: bools of bools, integers (bit by bit) of integers.
    ///
    /// # Errors
    /// Shapes that do not broadcast, two devices, floats or complex numbers.
    pub fn apply<'a>(self, a: impl Into<Operand<'a>>, b: impl Into<Operand<'a>>) -> Result<Value> {
        let (a, b) = (a.into(), b.into());
        let kind = operand::promote(a, b);
        let device = operand::common_device(a, b, self.name())?;
        let shape = dims::broadcast(a.dims(), b.dims(), self.name())?;
        if !kind.is_exact() {
            return Err(needs_bools(self.name(), kind));
        }
        if shape.contains(&0) {
            return empty(&shape, kind, &device);
        }
        let (a, b) = (a.tensor(kind, &device)?, b.tensor(kind, &device)?);
        Ok(match kind {
            Kind::Bool => Value::Bool(match self {
                Logic::And => a.broadcast_minimum(&b)?,
                Logic::Or => a.broadcast_maximum(&b)?,
                Logic::Xor => a.broadcast_ne(&b)?,
            }),
            Kind::U8 => self.integers::<u8>(&a, &b)?,
            Kind::U32 => self.integers::<u32>(&a, &b)?,
            _ => self.integers::<i64>(&a, &b)?,
        })
    }

    fn integers<T: Integer>(self, a: &Tensor, b: &Tensor) -> Result<Value> {
        let f: fn(T, T) -> T = match self {
            Logic::And => T::and,
            Logic::Or => T::or,
            Logic::Xor => T::xor,
        };
        Ok(Value::Real(loops::zip(a, b, f)?))
    }
}

/// `!x`: not, of bools; every bit turned, of integers.
///
/// # Errors
/// Floats or complex numbers.
pub fn not(value: &Value) -> Result<Value> {
    let kind = Kind::of(value);
    if !kind.is_exact() {
        return Err(needs_bools("!", kind));
    }
    let tensor = value.real("!")?;
    Ok(match kind {
        Kind::Bool => Value::Bool(tensor.eq(&tensor.zeros_like()?)?),
        Kind::U8 => Value::Real(loops::map(tensor, <u8 as Integer>::not)?),
        Kind::U32 => Value::Real(loops::map(tensor, <u32 as Integer>::not)?),
        _ => Value::Real(loops::map(tensor, <i64 as Integer>::not)?),
    })
}

fn needs_bools(name: &str, kind: Kind) -> crate::Error {
    error!("{name} needs bool or integer tensors, not {}", kind.name())
        .help("compare first, as in x > 0.0")
}
