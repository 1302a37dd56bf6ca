//! The operators `+ - * / % **`, `minimum`, `maximum`, `clamp` and negation, with PyTorch's rules:
//! `/` of integers gives floats, `%` has the sign of the divisor, integers wrap.

use candle_core::{Device, Tensor, WithDType};

use super::complex_arithmetic::ComplexOperands;
use super::integer::Integer;
use super::{candle_ops, derivatives, loops};
use crate::kernel::elementwise as kernel;
use crate::kernel::elementwise::Binary;
use crate::tensor::elements::by_dtype;
use crate::tensor::operand::{Number, Operand};
use crate::tensor::{Kind, Value, creation, dims, dtype, elements, graph, operand};
use crate::{Result, bail, error};

/// A binary operation on numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// `torch.add`; on bools, logical or.
    Add,
    /// `torch.sub`.
    Sub,
    /// `torch.mul`; on bools, logical and.
    Mul,
    /// `torch.true_divide`: integers and bools give f32.
    Div,
    /// `torch.remainder`: the result has the sign of the divisor.
    Rem,
    /// `torch.pow`.
    Pow,
    /// `torch.minimum`: NaN if either operand is.
    Minimum,
    /// `torch.maximum`: NaN if either operand is.
    Maximum,
}

impl Arithmetic {
    /// The operator or function of scripts, for errors.
    pub fn name(self) -> &'static str {
        match self {
            Arithmetic::Add => "+",
            Arithmetic::Sub => "-",
            Arithmetic::Mul => "*",
            Arithmetic::Div => "/",
            Arithmetic::Rem => "%",
            Arithmetic::Pow => "**",
            Arithmetic::Minimum => "minimum",
            Arithmetic::Maximum => "maximum",
        }
    }

    /// Applies the operation to each pair of elements of the broadcast operands. The result's dtype
    /// is that of [`operand::promote`].
    ///
    /// # Errors
    /// The shapes do not broadcast; the tensors are on different devices; a number is out of range
    /// for the result's dtype; an integer tensor is divided by 0 with `%` or raised to a negative
    /// power; the operation is not defined for bools or complex numbers.
    pub fn apply<'a>(self, a: impl Into<Operand<'a>>, b: impl Into<Operand<'a>>) -> Result<Value> {
        let (a, b) = (a.into(), b.into());
        let promoted = operand::promote(a, b);
        let kind = if self == Arithmetic::Div { promoted.to_float() } else { promoted };
        let device = operand::common_device(a, b, self.name())?;
        let shape = dims::broadcast(a.dims(), b.dims(), self.name())?;
        if matches!(kind, Kind::C64 | Kind::C128) {
            if is_tracked(a) || is_tracked(b) {
                return self.recorded(a, b, kind, &device);
            }
            let (a, b) = (a.parts(kind, &device)?, b.parts(kind, &device)?);
            return self.complex(&ComplexOperands { a, b, shape: &shape });
        }
        for side in [a, b] {
            if let Operand::Number(number) = side {
                number.check_fits(kind)?;
            }
        }
        // As in PyTorch, half precision with another dtype is computed in f32, so that a number is
        // not rounded to half precision before the operation.
        let half = matches!(kind, Kind::F16 | Kind::BF16);
        let work = if half && (a.kind() != kind || b.kind() != kind) { Kind::F32 } else { kind };
        if is_tracked(a) || is_tracked(b) {
            return dtype::cast(&self.recorded(a, b, work, &device)?, kind);
        }
        if let (Arithmetic::Pow, Operand::Number(number), true) = (self, b, kind.is_float())
            && number.to_f64() == 2.0
        {
            let x = a.tensor(work, &device)?;
            return dtype::cast(&Value::Real(kernel::sqr(&x)?), kind);
        }
        let (x, y) = (a.tensor(work, &device)?, b.tensor(work, &device)?);
        if shape.contains(&0) {
            return creation::zeros(&shape, kind, &device);
        }
        match kind {
            Kind::Bool => Ok(Value::Bool(self.bools(&x, &y)?)),
            Kind::U8 => self.integers::<u8>(&x, &y),
            Kind::U32 => self.integers::<u32>(&x, &y),
            Kind::I64 => self.integers::<i64>(&x, &y),
            _ => dtype::cast(&Value::Real(self.floats(&x, &y)?), kind),
        }
    }

    /// The operation on operands of which one is tracked, in the float or complex dtype `work`.
    fn recorded(self, a: Operand, b: Operand, work: Kind, device: &Device) -> Result<Value> {
        use derivatives::{left, right};
        let value = |x: Operand| x.value(work, device);
        match (a, b) {
            (_, Operand::Number(n)) => graph::operation(
                &[&value(a)?],
                |inputs| self.apply(inputs[0], n),
                move |back| {
                    let x = Operand::from(&back.inputs[0]);
                    back.of_one(|| left(self, &back.gradient, x, n.into()))
                },
            ),
            (Operand::Number(n), _) => graph::operation(
                &[&value(b)?],
                |inputs| self.apply(n, inputs[0]),
                move |back| {
                    let y = Operand::from(&back.inputs[0]);
                    back.of_one(|| right(self, &back.gradient, n.into(), y, &back.output))
                },
            ),
            _ => graph::operation(
                &[&value(a)?, &value(b)?],
                |inputs| self.apply(inputs[0], inputs[1]),
                move |back| {
                    let x = Operand::from(&back.inputs[0]);
                    let (y, gradient) = (Operand::from(&back.inputs[1]), &back.gradient);
                    Ok(vec![
                        back.of(0, || left(self, gradient, x, y))?,
                        back.of(1, || right(self, gradient, x, y, &back.output))?,
                    ])
                },
            ),
        }
    }

    fn floats(self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Arithmetic::Add => Binary::Add.apply(a, b)?,
            Arithmetic::Sub => Binary::Sub.apply(a, b)?,
            Arithmetic::Mul => Binary::Mul.apply(a, b)?,
            Arithmetic::Div => Binary::Div.apply(a, b)?,
            Arithmetic::Rem => loops::zip_float(a, b, modulo)?,
            Arithmetic::Pow => loops::zip_float(a, b, f64::powf)?,
            Arithmetic::Minimum | Arithmetic::Maximum if !a.device().is_cpu() => {
                candle_ops::pairwise_extreme(a, b, self == Arithmetic::Maximum)?
            }
            Arithmetic::Minimum => by_dtype!(a, T => loops::zip(a, b, minimum::<T>))?,
            Arithmetic::Maximum => by_dtype!(a, T => loops::zip(a, b, maximum::<T>))?,
        })
    }

    fn integers<T: Integer>(self, a: &Tensor, b: &Tensor) -> Result<Value> {
        let here = a.device().is_cpu();
        let f: fn(T, T) -> T = match self {
            Arithmetic::Add => return Ok(Value::Real(Binary::Add.apply(a, b)?)),
            Arithmetic::Sub => return Ok(Value::Real(Binary::Sub.apply(a, b)?)),
            Arithmetic::Mul => return Ok(Value::Real(Binary::Mul.apply(a, b)?)),
            Arithmetic::Minimum | Arithmetic::Maximum if !here => {
                let largest = self == Arithmetic::Maximum;
                return Ok(Value::Real(candle_ops::pairwise_extreme(a, b, largest)?));
            }
            Arithmetic::Minimum => Ord::min,
            Arithmetic::Maximum => Ord::max,
            Arithmetic::Rem => {
                if elements::to_vec::<T>(b)?.contains(&T::zero()) {
                    return Err(error!("%: an integer tensor is divided by 0")
                        .help("with floats the remainder is nan: convert with .to(\"f32\")"));
                }
                T::modulo
            }
            Arithmetic::Pow => {
                if elements::to_vec::<T>(b)?.iter().any(|&y| y < T::zero()) {
                    return Err(error!(
                        "**: an integer tensor cannot be raised to a negative power"
                    )
                    .help("convert it with .to(\"f32\"), or write the exponent as a float"));
                }
                T::power
            }
            Arithmetic::Div => bail!("/ of integers is a division of floats"),
        };
        Ok(Value::Real(loops::zip(a, b, f)?))
    }

    fn complex(self, operands: &ComplexOperands) -> Result<Value> {
        Ok(Value::Complex(match self {
            Arithmetic::Add => operands.sum()?,
            Arithmetic::Sub => operands.difference()?,
            Arithmetic::Mul => operands.product()?,
            Arithmetic::Div => operands.quotient()?,
            Arithmetic::Pow => operands.power()?,
            Arithmetic::Rem | Arithmetic::Minimum | Arithmetic::Maximum => {
                return Err(error!("{} has no meaning for complex tensors", self.name())
                    .help("take .real, .imag, .abs() or .angle() first"));
            }
        }))
    }

    /// On two bool tensors, as in PyTorch, `+` is logical or and `*` is logical and.
    fn bools(self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Arithmetic::Add | Arithmetic::Maximum => a.broadcast_maximum(b)?,
            Arithmetic::Mul | Arithmetic::Minimum => a.broadcast_minimum(b)?,
            _ => {
                return Err(error!("{} has no meaning for two bool tensors", self.name())
                    .help("use & | ^ or !, or convert one with .to(\"i64\")"));
            }
        })
    }
}

/// The smaller of two elements, or NaN if either is NaN.
#[allow(clippy::eq_op)]
#[inline(always)]
fn minimum<T: WithDType>(a: T, b: T) -> T {
    if a < b || a != a { a } else { b }
}

/// The larger of two elements, or NaN if either is NaN.
#[allow(clippy::eq_op)]
#[inline(always)]
fn maximum<T: WithDType>(a: T, b: T) -> T {
    if a > b || a != a { a } else { b }
}

/// The remainder of floats with the sign of the divisor, as `torch.remainder`.
pub fn modulo(a: f64, b: f64) -> f64 {
    let rest = a % b;
    if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
}

/// Each element limited to the range from `lo` to `hi`, as `torch.clamp`. Either bound may be
/// absent. NaN stays NaN.
///
/// # Errors
/// As [`Arithmetic::apply`]; both bounds are absent.
pub fn clamp(x: &Value, lo: Option<Operand>, hi: Option<Operand>) -> Result<Value> {
    if [Some(x.into()), lo, hi].into_iter().flatten().any(is_tracked) {
        return derivatives::clamp(x, lo, hi);
    }
    let raised = match lo {
        Some(lo) => Some(Arithmetic::Maximum.apply(Operand::Tensor(x), lo)?),
        None => None,
    };
    match (raised, hi) {
        (None, None) => Err(error!("clamp needs a bound")
            .help("x.clamp(lo, hi), or x.clamp(#{min: lo}) for one alone")),
        (Some(raised), None) => Ok(raised),
        (raised, Some(hi)) => {
            Arithmetic::Minimum.apply(Operand::Tensor(raised.as_ref().unwrap_or(x)), hi)
        }
    }
}

fn is_tracked(side: Operand) -> bool {
    matches!(side, Operand::Tensor(value) if value.is_tracked())
}

/// `-x`, as `torch.neg`; unsigned integers wrap.
///
/// # Errors
/// The tensor is bool.
pub fn negate(value: &Value) -> Result<Value> {
    match value {
        Value::Bool(_) => Err(error!("- has no meaning for a bool tensor").help("use ! for not")),
        Value::Real(t) => Ok(Value::Real(match Kind::of(value) {
            Kind::U8 => loops::map(t, <u8 as Integer>::neg)?,
            Kind::U32 => loops::map(t, <u32 as Integer>::neg)?,
            Kind::I64 => loops::map(t, <i64 as Integer>::neg)?,
            _ => kernel::neg(t)?,
        })),
        Value::Complex(_) => value.map(kernel::neg),
    }
}

impl From<f64> for Operand<'_> {
    fn from(number: f64) -> Self {
        Operand::Number(Number::Float(number))
    }
}

impl From<i64> for Operand<'_> {
    fn from(number: i64) -> Self {
        Operand::Number(Number::Int(number))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_larger_of_two_is_the_same_on_every_device() {
        let tensor = |numbers: &[f32]| Tensor::new(numbers, &Device::Cpu).unwrap();
        let a = tensor(&[1.0, f32::NAN, 3.0, f32::NEG_INFINITY, 0.5]);
        let b = tensor(&[2.0, 1.0, f32::NAN, f32::INFINITY, -0.5]);
        for (largest, operation) in [(true, Arithmetic::Maximum), (false, Arithmetic::Minimum)] {
            let there =
                candle_ops::pairwise_extreme(&a, &b, largest).unwrap().to_vec1::<f32>().unwrap();
            let here = operation.floats(&a, &b).unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(format!("{there:?}"), format!("{here:?}"));
        }
    }
}
