//! The operators `& | ^ !`: logical on bool tensors, bitwise on integer tensors.

use candle_core::Tensor;

use super::integer::Integer;
use super::loops;
use crate::tensor::operand::Operand;
use crate::tensor::{Kind, Value, creation, dims, operand};
use crate::{Result, error};

/// A logical operation on bools, bitwise on integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logic {
    /// `torch.bitwise_and`.
    And,
    /// `torch.bitwise_or`.
    Or,
    /// `torch.bitwise_xor`.
    Xor,
}

impl Logic {
    /// The operator of scripts, for errors.
    pub fn name(self) -> &'static str {
        match self {
            Logic::And => "&",
            Logic::Or => "|",
            Logic::Xor => "^",
        }
    }

    /// Applies the operation to each pair of elements of the broadcast operands, of bool or integer
    /// dtype.
    ///
    /// # Errors
    /// The shapes do not broadcast; the tensors are on different devices; an operand is of a float
    /// or complex dtype.
    pub fn apply<'a>(self, a: impl Into<Operand<'a>>, b: impl Into<Operand<'a>>) -> Result<Value> {
        let (a, b) = (a.into(), b.into());
        let kind = operand::promote(a, b);
        let device = operand::common_device(a, b, self.name())?;
        let shape = dims::broadcast(a.dims(), b.dims(), self.name())?;
        if !kind.is_exact() {
            return Err(needs_bools(self.name(), kind));
        }
        if shape.contains(&0) {
            return creation::zeros(&shape, kind, &device);
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

/// `!x`, as `torch.bitwise_not`: logical not of bools, every bit inverted of integers.
///
/// # Errors
/// The dtype is a float or complex one.
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
