//! Functions of each element whose results are floats: `exp`, `log`, `gelu`, ….
//!
//! On the CPU the common ones have vectorised f32 kernels; the others are computed in f64 and
//! rounded once, in parallel. On other devices candle's kernels are used.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LN_2, LN_10};

use candle_core::Tensor;
use candle_core::cpu::erf::erf_f64;

use super::loops;
use crate::Result;
use crate::kernel::activation::Activation;
use crate::kernel::elements::Elements;
use crate::kernel::elementwise;
use crate::kernel::elementwise::{Binary, affine, neg, recip, sqr};
use crate::kernel::half_precision;
use crate::tensor::graph::Back;
use crate::tensor::{Kind, Value, graph};

/// A function of one number whose result is a float.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `e^x`.
    Exp,
    /// `e^x - 1`, precise near 0.
    Expm1,
    /// The natural logarithm.
    Log,
    /// The logarithm to base 2.
    Log2,
    /// The logarithm to base 10.
    Log10,
    /// `log(1 + x)`, precise near 0.
    Log1p,
    /// The square root.
    Sqrt,
    /// `1 / sqrt(x)`.
    Rsqrt,
    /// The sine of an angle in radians.
    Sin,
    /// The cosine of an angle in radians.
    Cos,
    /// The hyperbolic tangent.
    Tanh,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `x Φ(x)` with the exact normal distribution function Φ: `torch.nn.functional.gelu`.
    Gelu,
    /// GELU with the tanh approximation of Φ: `gelu(x, approximate="tanh")` of PyTorch.
    GeluTanh,
    /// `x sigmoid(x)`: `torch.nn.functional.silu`.
    Silu,
    /// The error function.
    Erf,
}

impl Function {
    /// The functions of scripts. [`GeluTanh`](Function::GeluTanh) is an option of `gelu` there.
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

    /// The function of each element. Floats keep their dtype; integers and bools give f32.
    ///
    /// # Errors
    /// The tensor is complex.
    pub fn apply(self, value: &Value) -> Result<Value> {
        let tensor = value.real(self.name())?.to_dtype(Kind::of(value).to_float().storage())?;
        graph::operation(
            &[&Value::Real(tensor)],
            |inputs| self.compute(inputs[0].real(self.name())?),
            move |back| back.of_one(|| self.gradient(back)),
        )
    }

    fn compute(self, tensor: &Tensor) -> Result<Value> {
        Ok(Value::Real(match self.vectorised(tensor) {
            Some(y) => y?,
            None if tensor.device().is_cpu() => loops::map_float(tensor, self.of_number())?,
            None => self.by_candle(tensor)?,
        }))
    }

    /// The gradient of the argument, in float32 for half precision.
    fn gradient(self, back: &Back) -> Result<Value> {
        let wide = |value: &Value| -> Result<Tensor> {
            Ok(half_precision::widen(value.real(self.name())?)?)
        };
        let (x, y, gradient) = (wide(&back.inputs[0])?, wide(&back.output)?, wide(&back.gradient)?);
        Ok(Value::Real(Binary::Mul.apply(&gradient, &self.slope(&x, &y)?)?))
    }

    /// The derivative at `x`, where the function is `y`.
    fn slope(self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        use Binary::{Add, Mul};
        let of = |function: Function, x: &Tensor| -> Result<Tensor> {
            Ok(function.compute(x)?.real(function.name())?.clone())
        };
        Ok(match self {
            Function::Exp => y.clone(),
            Function::Expm1 => affine(y, 1.0, 1.0)?,
            Function::Log => recip(x)?,
            Function::Log2 => recip(&affine(x, LN_2, 0.0)?)?,
            Function::Log10 => recip(&affine(x, LN_10, 0.0)?)?,
            Function::Log1p => recip(&affine(x, 1.0, 1.0)?)?,
            Function::Sqrt => recip(&affine(y, 2.0, 0.0)?)?,
            Function::Rsqrt => affine(&Mul.apply(&sqr(y)?, y)?, -0.5, 0.0)?,
            Function::Sin => of(Function::Cos, x)?,
            Function::Cos => neg(&of(Function::Sin, x)?)?,
            Function::Tanh => affine(&sqr(y)?, -1.0, 1.0)?,
            Function::Sigmoid => Mul.apply(y, &affine(y, -1.0, 1.0)?)?,
            Function::Gelu => {
                let share = of(Function::Erf, &affine(x, FRAC_1_SQRT_2, 0.0)?)?;
                let density = of(Function::Exp, &affine(&sqr(x)?, -0.5, 0.0)?)?;
                let density = affine(&density, 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2, 0.0)?;
                Add.apply(&affine(&share, 0.5, 0.5)?, &Mul.apply(x, &density)?)?
            }
            Function::GeluTanh => {
                let (square, scale) = (sqr(x)?, FRAC_2_SQRT_PI * FRAC_1_SQRT_2);
                let within = Mul.apply(&affine(&square, 0.044715 * scale, scale)?, x)?;
                let share = of(Function::Tanh, &within)?;
                let steep = Mul.apply(&affine(&sqr(&share)?, -0.5, 0.5)?, x)?;
                let inner = affine(&square, 3.0 * 0.044715 * scale, scale)?;
                Add.apply(&affine(&share, 0.5, 0.5)?, &Mul.apply(&steep, &inner)?)?
            }
            Function::Silu => {
                let share = of(Function::Sigmoid, x)?;
                let rest = Mul.apply(&affine(&share, -1.0, 1.0)?, x)?;
                Mul.apply(&share, &affine(&rest, 1.0, 1.0)?)?
            }
            Function::Erf => affine(&of(Function::Exp, &neg(&sqr(x)?)?)?, FRAC_2_SQRT_PI, 0.0)?,
        })
    }

    /// Of f32 tensors on the CPU; `None` for others, and for functions that are computed in f64.
    fn vectorised(self, x: &Tensor) -> Option<candle_core::Result<Tensor>> {
        let activation = |activation: Activation| {
            let fits = Elements::<f32>::fit(x);
            fits.then(|| activation.apply(&x.contiguous()?, None))
        };
        match self {
            Function::Exp => elementwise::exp(x),
            Function::Log => elementwise::ln(x),
            Function::Sqrt => elementwise::sqrt(x),
            Function::Rsqrt => elementwise::rsqrt(x),
            Function::Tanh => elementwise::tanh(x),
            Function::Sigmoid => elementwise::sigmoid(x),
            Function::Erf => elementwise::erf(x),
            Function::Gelu => activation(Activation::Gelu),
            Function::GeluTanh => activation(Activation::GeluTanh),
            Function::Silu => activation(Activation::Silu),
            Function::Expm1
            | Function::Log2
            | Function::Log10
            | Function::Log1p
            | Function::Sin
            | Function::Cos => None,
        }
    }

    fn name(self) -> &'static str {
        Function::ALL
            .iter()
            .find(|(_, function)| *function == self)
            .map_or("gelu", |(name, _)| name)
    }

    /// The function of one number, in f64.
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

    fn by_candle(self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            // candle has no kernels for these that are precise near 0.
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

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn candles_kernels_agree_with_double_precision() {
        let x = Tensor::new(&[-3f64, -0.5, 0.0, 1e-3, 0.7, 4.0], &Device::Cpu).unwrap();
        for (name, function) in Function::ALL.into_iter().chain([("gelu tanh", Function::GeluTanh)])
        {
            let here =
                loops::map_float(&x, function.of_number()).unwrap().to_vec1::<f64>().unwrap();
            let there = function.by_candle(&x).unwrap().to_vec1::<f64>().unwrap();
            for (a, b) in here.iter().zip(&there) {
                assert!(
                    a == b || (a - b).abs() < 1e-9 || (a.is_nan() && b.is_nan()),
                    "{name}: {a} and {b}"
                );
            }
        }
    }
}
