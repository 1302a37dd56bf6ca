//! What stands on one side of an operator: a tensor or a number.

use candle_core::{Device, Tensor};

use super::{Complex, Kind, Value, device, dtype};
use crate::{Result, error};

/// One side of an operator. A number takes the tensor's dtype where its own category (bool,
/// integer, float) allows.
#[derive(Debug, Clone, Copy)]
pub enum Operand<'a> {
    Tensor(&'a Value),
    Number(Number),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Bool(bool),
    Int(i64),
    Float(f64),
}

impl Number {
    /// The dtype of a tensor made of this number alone.
    pub fn kind(self) -> Kind {
        match self {
            Number::Bool(_) => Kind::Bool,
            Number::Int(_) => Kind::I64,
            Number::Float(_) => Kind::F32,
        }
    }

    pub fn to_f64(self) -> f64 {
        match self {
            Number::Bool(b) => b.into(),
            Number::Int(i) => i as f64,
            Number::Float(f) => f,
        }
    }

    /// Equal to the last bit: a NaN is the same as itself, 0.0 is not -0.0.
    pub fn is_same(self, other: Number) -> bool {
        match (self, other) {
            (Number::Float(a), Number::Float(b)) => a.to_bits() == b.to_bits(),
            _ => self == other,
        }
    }

    /// A value without dims.
    pub fn value(self, kind: Kind, device: &Device) -> Result<Value> {
        let (tensor, own) = match self {
            Number::Bool(b) => (Tensor::new(u8::from(b), &Device::Cpu)?, Kind::Bool),
            Number::Int(i) => (Tensor::new(i, &Device::Cpu)?, Kind::I64),
            Number::Float(f) => (Tensor::new(f, &Device::Cpu)?, Kind::F64),
        };
        let value = if own == Kind::Bool { Value::Bool(tensor) } else { Value::Real(tensor) };
        dtype::cast(&value, kind)?.map(|t| t.to_device(device))
    }

    /// # Errors
    /// An integer that `kind` cannot hold, in either sign: `u8 - 300`.
    pub fn check_fits(self, kind: Kind) -> Result<()> {
        let limit = match kind {
            Kind::U8 => i64::from(u8::MAX),
            Kind::U32 => i64::from(u32::MAX),
            _ => return Ok(()),
        };
        match self {
            Number::Int(i) if !(-limit..=limit).contains(&i) => {
                Err(error!("{i} does not fit into {}", kind.name()).help("use dtype \"i64\""))
            }
            _ => Ok(()),
        }
    }

    /// # Errors
    /// A number that a tensor of `kind` cannot hold: an integer or a float beyond its range, or nan
    /// as an integer.
    pub fn check_holds(self, kind: Kind) -> Result<()> {
        match self {
            Number::Float(x) if !kind.takes(x) => {
                let error = error!("{} does not fit into {}", dtype::written(x), kind.name());
                Err(if kind.is_exact() { error } else { error.help("use a wider dtype, or inf") })
            }
            Number::Int(i) if i < 0 && matches!(kind, Kind::U8 | Kind::U32) => {
                Err(error!("{i} does not fit into {}", kind.name())
                    .help("use dtype \"i64\" for negative integers"))
            }
            _ => self.check_fits(kind),
        }
    }
}

impl<'a> Operand<'a> {
    pub fn kind(&self) -> Kind {
        match self {
            Operand::Tensor(value) => Kind::of(value),
            Operand::Number(number) => number.kind(),
        }
    }

    pub fn dims(&self) -> &[usize] {
        match self {
            Operand::Tensor(value) => value.dims(),
            Operand::Number(_) => &[],
        }
    }

    /// The operand with elements of `kind`, on `device`.
    pub fn value(&self, kind: Kind, device: &Device) -> Result<Value> {
        match self {
            Operand::Tensor(value) => transfer(&dtype::cast(value, kind)?, device),
            Operand::Number(number) => number.value(kind, device),
        }
    }

    /// The operand's one tensor, for a `kind` that is not complex.
    pub fn tensor(&self, kind: Kind, device: &Device) -> Result<Tensor> {
        Ok(self.value(kind, device)?.real("this operation")?.clone())
    }

    /// Real and imaginary part, the latter absent where it is zero, in the parts' dtype of `kind`.
    pub fn parts(&self, kind: Kind, device: &Device) -> Result<(Tensor, Option<Tensor>)> {
        match self {
            Operand::Tensor(Value::Complex(c)) => {
                let part = |t: &Tensor| device::transfer(&t.to_dtype(kind.storage())?, device);
                Ok((part(&c.re)?, Some(part(&c.im)?)))
            }
            _ => {
                let real = if kind == Kind::C128 { Kind::F64 } else { Kind::F32 };
                Ok((self.tensor(real, device)?, None))
            }
        }
    }
}

impl<'a> From<&'a Value> for Operand<'a> {
    fn from(value: &'a Value) -> Self {
        Operand::Tensor(value)
    }
}

impl From<Number> for Operand<'_> {
    fn from(number: Number) -> Self {
        Operand::Number(number)
    }
}

/// What an operation on both gives, by PyTorch's rules.
pub fn promote(a: Operand, b: Operand) -> Kind {
    match (a, b) {
        (Operand::Tensor(x), Operand::Tensor(y)) => {
            Kind::promote_ranked((Kind::of(x), x.rank()), (Kind::of(y), y.rank()))
        }
        (Operand::Tensor(x), Operand::Number(n)) | (Operand::Number(n), Operand::Tensor(x)) => {
            Kind::of(x).over_scalar(n.kind())
        }
        (Operand::Number(m), Operand::Number(n)) => m.kind().promote(n.kind()),
    }
}

/// The device both work on. A tensor without dims follows the other.
///
/// # Errors
/// Two tensors with dims on two devices.
pub fn common_device(a: Operand, b: Operand, what: &str) -> Result<Device> {
    match (a, b) {
        (Operand::Tensor(x), Operand::Tensor(y)) => {
            if x.device().same_device(y.device()) || y.rank() == 0 {
                return Ok(x.device().clone());
            }
            if x.rank() == 0 {
                return Ok(y.device().clone());
            }
            let (on_x, on_y) = (device::name(x.device()), device::name(y.device()));
            Err(error!("{what}: one tensor is on {on_x}, the other on {on_y}")
                .help(format!("move one of them, with .to({on_x:?}) or .to({on_y:?})")))
        }
        (Operand::Tensor(x), _) | (_, Operand::Tensor(x)) => Ok(x.device().clone()),
        _ => Ok(Device::Cpu),
    }
}

/// The value on `device`, itself where it is there already.
pub fn transfer(value: &Value, device: &Device) -> Result<Value> {
    let moved = |t: &Tensor| device::transfer(t, device);
    Ok(match value {
        Value::Real(t) => Value::Real(moved(t)?),
        Value::Bool(t) => Value::Bool(moved(t)?),
        Value::Complex(c) => Value::Complex(Complex { re: moved(&c.re)?, im: moved(&c.im)? }),
    })
}
