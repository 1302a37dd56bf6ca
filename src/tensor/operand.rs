//! [`Operand`], one side of a binary operator: a tensor or a number; and the dtype and device that
//! two of them have in common.

use candle_core::{Device, Tensor};

use super::{Complex, Kind, Value, device, dtype};
use crate::{Result, error};

/// One side of a binary operator. As in PyTorch, a number takes the dtype of the tensor on the
/// other side unless its own [`Category`](dtype::Category) is the higher one.
#[derive(Debug, Clone, Copy)]
pub enum Operand<'a> {
    /// A tensor of any rank, 0 included.
    Tensor(&'a Value),
    /// A number of the script.
    Number(Number),
}

/// A single number of a script.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
}

impl Number {
    /// The dtype of a tensor made from this number: bool, i64 or f32.
    pub fn kind(self) -> Kind {
        match self {
            Number::Bool(_) => Kind::Bool,
            Number::Int(_) => Kind::I64,
            Number::Float(_) => Kind::F32,
        }
    }

    /// The number as f64; bools are 0 and 1, and large integers are rounded.
    pub fn to_f64(self) -> f64 {
        match self {
            Number::Bool(b) => b.into(),
            Number::Int(i) => i as f64,
            Number::Float(f) => f,
        }
    }

    /// Whether both are the same bit pattern: a NaN is the same as itself, and 0.0 is not -0.0.
    pub fn is_same(self, other: Number) -> bool {
        match (self, other) {
            (Number::Float(a), Number::Float(b)) => a.to_bits() == b.to_bits(),
            _ => self == other,
        }
    }

    /// The number as a tensor of rank 0.
    ///
    /// # Errors
    /// `kind` cannot hold it, or the copy to the device fails.
    pub fn value(self, kind: Kind, device: &Device) -> Result<Value> {
        let (tensor, own) = match self {
            Number::Bool(b) => (Tensor::new(u8::from(b), &Device::Cpu)?, Kind::Bool),
            Number::Int(i) => (Tensor::new(i, &Device::Cpu)?, Kind::I64),
            Number::Float(f) => (Tensor::new(f, &Device::Cpu)?, Kind::F64),
        };
        let value = if own == Kind::Bool { Value::Bool(tensor) } else { Value::Real(tensor) };
        dtype::cast(&value, kind)?.map(|t| t.to_device(device))
    }

    /// Checks that an integer's magnitude is in range for `kind`, for an operator with a tensor of
    /// that dtype. Negative integers pass: `u8 - 3` and `u8 + (-3)` are the same.
    ///
    /// # Errors
    /// It is out of range, as in `u8 - 300`.
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

    /// Checks that an element of dtype `kind` can hold the number.
    ///
    /// # Errors
    /// The number is out of range, or it is NaN and `kind` is an integer dtype.
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
    /// The dtype of a tensor, or of a tensor made from the number.
    pub fn kind(&self) -> Kind {
        match self {
            Operand::Tensor(value) => Kind::of(value),
            Operand::Number(number) => number.kind(),
        }
    }

    /// The shape; empty for a number.
    pub fn dims(&self) -> &[usize] {
        match self {
            Operand::Tensor(value) => value.dims(),
            Operand::Number(_) => &[],
        }
    }

    /// The operand as a tensor of dtype `kind` on `device`.
    ///
    /// # Errors
    /// Those of [`dtype::cast`], or the copy to the device fails.
    pub fn value(&self, kind: Kind, device: &Device) -> Result<Value> {
        match self {
            Operand::Tensor(value) => transfer(&dtype::cast(value, kind)?, device),
            Operand::Number(number) => number.value(kind, device),
        }
    }

    /// [`value`](Self::value) as a candle tensor, for a `kind` that is not complex.
    ///
    /// # Errors
    /// As [`value`](Self::value), or `kind` is complex.
    pub fn tensor(&self, kind: Kind, device: &Device) -> Result<Tensor> {
        Ok(self.value(kind, device)?.real("this operation")?.clone())
    }

    /// The real and the imaginary part for a complex `kind`, in the dtype of its parts (f32 or f64)
    /// and on `device`. A real operand has no imaginary part.
    ///
    /// # Errors
    /// As [`value`](Self::value).
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

/// The dtype of the result of a binary operation, by the rules of `torch.result_type`.
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

/// The device on which a binary operation runs. As in PyTorch, a tensor of rank 0 is moved to the
/// device of the other. `what` names the operation in the error.
///
/// # Errors
/// Both tensors have dims and they are on different devices.
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

/// The value on `device`; it shares the storage if it is there already.
///
/// # Errors
/// The copy fails.
pub fn transfer(value: &Value, device: &Device) -> Result<Value> {
    let moved = |t: &Tensor| device::transfer(t, device);
    Ok(match value {
        Value::Real(t) => Value::Real(moved(t)?),
        Value::Bool(t) => Value::Bool(moved(t)?),
        Value::Complex(c) => Value::Complex(Complex { re: moved(&c.re)?, im: moved(&c.im)? }),
    })
}
