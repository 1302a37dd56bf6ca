//! Piecewise linear functions, whose result has the argument's own dtype, integers included:
//! `relu`, `floor`, `ceil`, `round`, `sign` and `abs`.

use candle_core::{DType, Tensor};

use super::arithmetic::Arithmetic;
use super::comparison::Comparison;
use super::integer::Integer;
use super::{candle_ops, complex, loops};
use crate::kernel::activation::Activation;
use crate::kernel::elements::Elements;
use crate::kernel::elementwise;
use crate::tensor::index::masked;
use crate::tensor::operand::Operand;
use crate::tensor::{Kind, Value, graph};
use crate::{Result, error};

/// A piecewise linear function of one number. Its result has the dtype of the argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PiecewiseLinear {
    /// `max(x, 0)`.
    Relu,
    /// To the next lower integer.
    Floor,
    /// To the next higher integer.
    Ceil,
    /// To the nearest integer, halves to the even one.
    Round,
    /// -1, 0 or 1; 0 for NaN, as in PyTorch.
    Sign,
}

impl PiecewiseLinear {
    /// The functions of scripts.
    pub const ALL: [(&'static str, PiecewiseLinear); 5] = [
        ("relu", PiecewiseLinear::Relu),
        ("floor", PiecewiseLinear::Floor),
        ("ceil", PiecewiseLinear::Ceil),
        ("round", PiecewiseLinear::Round),
        ("sign", PiecewiseLinear::Sign),
    ];

    /// The function of each element.
    ///
    /// # Errors
    /// The tensor is complex, or it is bool and the function is not `sign`.
    pub fn apply(self, value: &Value) -> Result<Value> {
        let name =
            PiecewiseLinear::ALL.iter().find(|(_, f)| *f == self).map_or("", |(name, _)| name);
        let kind = Kind::of(value);
        let tensor = value.real(name)?;
        Ok(match kind {
            Kind::Bool if self == PiecewiseLinear::Sign => value.clone(),
            Kind::Bool => return Err(no_bool(name)),
            Kind::U8 | Kind::U32 | Kind::I64 => Value::Real(match (self, kind) {
                (PiecewiseLinear::Relu | PiecewiseLinear::Sign, Kind::I64) => {
                    loops::map(tensor, |x| self.of_integer(x))?
                }
                (PiecewiseLinear::Sign, Kind::U32) => loops::map(tensor, <u32 as Integer>::sign)?,
                (PiecewiseLinear::Sign, Kind::U8) => loops::map(tensor, <u8 as Integer>::sign)?,
                _ => tensor.clone(),
            }),
            _ if self == PiecewiseLinear::Relu => graph::operation(
                &[value],
                |inputs| self.floats(inputs[0].real(name)?),
                |back| {
                    back.of_one(|| {
                        let negative = Comparison::Le.apply(&back.inputs[0], 0.0)?;
                        masked::where_(&negative, Operand::from(0.0), (&back.gradient).into())
                    })
                },
            )?,
            _ => graph::constant(value, |value| self.floats(value.real(name)?))?,
        })
    }

    /// The function of each element of a float tensor.
    fn floats(self, x: &Tensor) -> Result<Value> {
        Ok(Value::Real(match x.dtype() {
            DType::F32 if self == PiecewiseLinear::Relu && Elements::<f32>::fit(x) => {
                Activation::Relu.apply(&x.contiguous()?, None)?
            }
            _ if x.device().is_cpu() => loops::map_float(x, self.of_number())?,
            _ => self.by_candle(x)?,
        }))
    }

    /// The function of one integer.
    pub fn of_integer(self, x: i64) -> i64 {
        match self {
            PiecewiseLinear::Relu => x.max(0),
            PiecewiseLinear::Sign => x.signum(),
            PiecewiseLinear::Floor | PiecewiseLinear::Ceil | PiecewiseLinear::Round => x,
        }
    }

    fn by_candle(self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            PiecewiseLinear::Relu => x.relu()?,
            PiecewiseLinear::Floor => x.floor()?,
            PiecewiseLinear::Ceil => x.ceil()?,
            PiecewiseLinear::Sign => x.sign()?,
            // candle's `round` rounds halves away from 0.
            PiecewiseLinear::Round => candle_ops::round(x)?,
        })
    }

    /// The function of one float.
    pub fn of_number(self) -> fn(f64) -> f64 {
        match self {
            PiecewiseLinear::Relu => |x| if x < 0.0 { 0.0 } else { x },
            PiecewiseLinear::Floor => f64::floor,
            PiecewiseLinear::Ceil => f64::ceil,
            PiecewiseLinear::Round => f64::round_ties_even,
            PiecewiseLinear::Sign => |x| f64::from(i8::from(x > 0.0) - i8::from(x < 0.0)),
        }
    }
}

/// The absolute value of each element, as `torch.abs`: f32 or f64 for complex tensors, else in the
/// tensor's own dtype.
///
/// # Errors
/// The tensor is bool.
pub fn abs(value: &Value) -> Result<Value> {
    let distance = |value: &Value| {
        Ok(Value::Real(match (value, Kind::of(value)) {
            (Value::Complex(c), _) => complex::modulus(c)?,
            (Value::Bool(_), _) => return Err(no_bool("abs")),
            (Value::Real(t), Kind::I64) => loops::map(t, <i64 as Integer>::abs)?,
            (Value::Real(t), Kind::U8 | Kind::U32) => t.clone(),
            (Value::Real(t), _) => elementwise::abs(t)?,
        }))
    };
    graph::operation(
        &[value],
        |inputs| distance(inputs[0]),
        |back| {
            back.of_one(|| {
                let away = match &back.inputs[0] {
                    Value::Complex(_) => complex::direction(&back.inputs[0], &back.output)?,
                    real => PiecewiseLinear::Sign.apply(real)?,
                };
                Arithmetic::Mul.apply(&back.gradient, &away)
            })
        },
    )
}

fn no_bool(name: &str) -> crate::Error {
    error!("{name} has no meaning for a bool tensor").help("convert it first, with .to(\"f32\")")
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn numbers_are_rounded_alike_everywhere() {
        let x = [
            -2.5f32,
            -1.5,
            -0.5,
            0.0,
            0.49,
            0.5,
            1.5,
            2.5,
            2.51,
            1e20,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
        ];
        let there = candle_ops::round(&Tensor::new(&x, &Device::Cpu).unwrap()).unwrap();
        let expected: Vec<f32> = x.iter().map(|x| x.round_ties_even()).collect();
        assert_eq!(format!("{:?}", there.to_vec1::<f32>().unwrap()), format!("{expected:?}"));
    }
}
