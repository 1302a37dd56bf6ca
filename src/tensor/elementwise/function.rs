//! Functions of each element: `exp`, `gelu`, `floor`, ….
//!
//! On the CPU most are vectorised for float32; the others are worked out in double precision and
//! rounded once, in parallel. Elsewhere it is the device's kernels that do it.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LN_2, LN_10};

use candle_core::Tensor;
use candle_core::cpu::erf::erf_f64;

use super::integer::Integer;
use super::{float32, loops};
use crate::tensor::reduce::by_candle;
use crate::tensor::{Kind, Value, complex};
use crate::{Result, error};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    Exp,
    /// `e^x - 1`, precise near 0.
    Expm1,
    Log,
    Log2,
    Log10,
    /// `log(1 + x)`, precise near 0.
    Log1p,
    Sqrt,
    Rsqrt,
    Sin,
    Cos,
    Tanh,
    Sigmoid,
    Gelu,
    GeluTanh,
    Silu,
    Erf,
}

impl Function {
    pub const ALL: [(&'static str, Function); 15] = [
        ("exp", Function::Exp),
        ("expm1", Function::Expm1),
        ("log", Function::Log),
        ("log2", Function::Log2),
        ("log10", Function::Log10),
        ("log1p", Function::Log1p),
        ("sqrt", Function::Sqrt),
        ("rsqrt", Function::Rsqrt),
        ("sin", Function::Sin),
        ("cos", Function::Cos),
        ("tanh", Function::Tanh),
        ("sigmoid", Function::Sigmoid),
        ("gelu", Function::Gelu),
        ("silu", Function::Silu),
        ("erf", Function::Erf),
    ];

    /// The function of each element; integers and bools become f32.
    ///
    /// # Errors
    /// A complex tensor.
    pub fn apply(self, value: &Value) -> Result<Value> {
        let tensor = value.real(self.name())?.to_dtype(Kind::of(value).to_float().storage())?;
        if let Some(y) = float32::apply(self, &tensor) {
            return Ok(Value::Real(y?));
        }
        Ok(Value::Real(if tensor.device().is_cpu() {
            loops::map_float(&tensor, self.of_number())?
        } else {
            self.on_device(&tensor)?
        }))
    }

    fn name(self) -> &'static str {
        Function::ALL
            .iter()
            .find(|(_, function)| *function == self)
            .map_or("gelu", |(name, _)| name)
    }

    /// The function of one number.
    pub fn of_number(self) -> fn(f64) -> f64 {
        match self {
            Function::Exp => f64::exp,
            Function::Expm1 => f64::exp_m1,
            Function::Log => f64::ln,
            Function::Log2 => f64::log2,
            Function::Log10 => f64::log10,
            Function::Log1p => f64::ln_1p,
            Function::Sqrt => f64::sqrt,
            Function::Rsqrt => |x| x.sqrt().recip(),
            Function::Sin => f64::sin,
            Function::Cos => f64::cos,
            Function::Tanh => f64::tanh,
            Function::Sigmoid => sigmoid,
            Function::Gelu => |x| 0.5 * x * (1.0 + erf_f64(x * FRAC_1_SQRT_2)),
            Function::GeluTanh => |x| {
                0.5 * x
                    * (1.0 + (FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * (x + 0.044715 * x * x * x)).tanh())
            },
            Function::Silu => |x| x * sigmoid(x),
            Function::Erf => erf_f64,
        }
    }

    fn on_device(self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            // No kernel of theirs is precise near 0.
            Function::Expm1 | Function::Log1p => return loops::map_float(x, self.of_number()),
            Function::Exp => x.exp(),
            Function::Log => x.log(),
            Function::Log2 => x.log()?.affine(LN_2.recip(), 0.0),
            Function::Log10 => x.log()?.affine(LN_10.recip(), 0.0),
            Function::Sqrt => x.sqrt(),
            Function::Rsqrt => x.sqrt()?.recip(),
            Function::Sin => x.sin(),
            Function::Cos => x.cos(),
            Function::Tanh => x.tanh(),
            Function::Sigmoid => x.neg()?.exp()?.affine(1.0, 1.0)?.recip(),
            Function::Gelu => x.gelu_erf(),
            Function::GeluTanh => x.gelu(),
            Function::Silu => x.silu(),
            Function::Erf => x.erf(),
        }?)
    }
}

fn sigmoid(x: f64) -> f64 {
    (1.0 + (-x).exp()).recip()
}

/// Functions whose result is of the argument's own dtype, integers included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shaping {
    Relu,
    Floor,
    Ceil,
    /// To the nearest integer, halves to the even one.
    Round,
    /// -1, 0 or 1.
    Sign,
}

impl Shaping {
    pub const ALL: [(&'static str, Shaping); 5] = [
        ("relu", Shaping::Relu),
        ("floor", Shaping::Floor),
        ("ceil", Shaping::Ceil),
        ("round", Shaping::Round),
        ("sign", Shaping::Sign),
    ];

    /// # Errors
    /// A complex or (but for `sign`) a bool tensor.
    pub fn apply(self, value: &Value) -> Result<Value> {
        let name = Shaping::ALL.iter().find(|(_, f)| *f == self).map_or("", |(name, _)| name);
        let kind = Kind::of(value);
        let tensor = value.real(name)?;
        Ok(match kind {
            Kind::Bool if self == Shaping::Sign => value.clone(),
            Kind::Bool => return Err(no_bool(name)),
            Kind::U8 | Kind::U32 | Kind::I64 => Value::Real(match (self, kind) {
                (Shaping::Relu | Shaping::Sign, Kind::I64) => {
                    loops::map(tensor, |x| self.of_integer(x))?
                }
                (Shaping::Sign, Kind::U32) => loops::map(tensor, <u32 as Integer>::sign)?,
                (Shaping::Sign, Kind::U8) => loops::map(tensor, <u8 as Integer>::sign)?,
                _ => tensor.clone(),
            }),
            Kind::F32 if self == Shaping::Relu && tensor.device().is_cpu() => {
                Value::Real(float32::relu(tensor)?)
            }
            _ if tensor.device().is_cpu() => {
                Value::Real(loops::map_float(tensor, self.of_number())?)
            }
            _ => Value::Real(self.on_device(tensor)?),
        })
    }

    /// The function of one integer.
    pub fn of_integer(self, x: i64) -> i64 {
        match self {
            Shaping::Relu => x.max(0),
            Shaping::Sign => x.signum(),
            Shaping::Floor | Shaping::Ceil | Shaping::Round => x,
        }
    }

    fn on_device(self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Shaping::Relu => x.relu()?,
            Shaping::Floor => x.floor()?,
            Shaping::Ceil => x.ceil()?,
            Shaping::Sign => x.sign()?,
            // candle's rounds halves away from zero.
            Shaping::Round => by_candle::round(x)?,
        })
    }

    /// The function of one number.
    pub fn of_number(self) -> fn(f64) -> f64 {
        match self {
            Shaping::Relu => |x| if x < 0.0 { 0.0 } else { x },
            Shaping::Floor => f64::floor,
            Shaping::Ceil => f64::ceil,
            Shaping::Round => f64::round_ties_even,
            Shaping::Sign => |x| f64::from(i8::from(x > 0.0) - i8::from(x < 0.0)),
        }
    }
}

/// The distance from 0, of real and complex numbers.
///
/// # Errors
/// A bool tensor.
pub fn abs(value: &Value) -> Result<Value> {
    Ok(Value::Real(match (value, Kind::of(value)) {
        (Value::Complex(c), _) => complex::modulus(c)?,
        (Value::Bool(_), _) => return Err(no_bool("abs")),
        (Value::Real(t), Kind::I64) => loops::map(t, <i64 as Integer>::abs)?,
        (Value::Real(t), Kind::U8 | Kind::U32) => t.clone(),
        (Value::Real(t), _) => t.abs()?,
    }))
}

fn no_bool(name: &str) -> crate::Error {
    error!("{name} has no meaning for a bool tensor").help("convert it first, with .to(\"f32\")")
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_devices_kernels_agree_with_double_precision() {
        let x = Tensor::new(&[-3f64, -0.5, 0.0, 1e-3, 0.7, 4.0], &Device::Cpu).unwrap();
        for (name, function) in Function::ALL.into_iter().chain([("gelu tanh", Function::GeluTanh)])
        {
            let here =
                loops::map_float(&x, function.of_number()).unwrap().to_vec1::<f64>().unwrap();
            let there = function.on_device(&x).unwrap().to_vec1::<f64>().unwrap();
            for (a, b) in here.iter().zip(&there) {
                assert!(
                    a == b || (a - b).abs() < 1e-9 || (a.is_nan() && b.is_nan()),
                    "{name}: {a} and {b}"
                );
            }
        }
    }

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
        let there = crate::tensor::reduce::by_candle::round(
            &Tensor::new(&x, &candle_core::Device::Cpu).unwrap(),
        )
        .unwrap();
        let expected: Vec<f32> = x.iter().map(|x| x.round_ties_even()).collect();
        assert_eq!(format!("{:?}", there.to_vec1::<f32>().unwrap()), format!("{expected:?}"));
    }
}
