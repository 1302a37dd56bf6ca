//! The derivatives of the operators of [`arithmetic`](super::arithmetic), PyTorch's at the edges too:
//! equal elements share the gradient of a minimum or maximum, and `clamp` passes it at its bounds.

use candle_core::Tensor;

use super::arithmetic::{self, Arithmetic};
use super::comparison::Comparison;
use super::complex;
use super::piecewise::PiecewiseLinear;
use crate::Result;
use crate::tensor::index::masked::where_;
use crate::tensor::operand::{Number, Operand};
use crate::tensor::{Kind, Value, graph};

/// The gradient of the left operand `x`.
pub(super) fn left(of: Arithmetic, gradient: &Value, x: Operand, y: Operand) -> Result<Value> {
    use Arithmetic::{Add, Div, Maximum, Minimum, Mul, Pow, Rem, Sub};
    match of {
        Add | Sub | Rem => Ok(gradient.clone()),
        Mul => Mul.apply(gradient, conj(y)?.operand()),
        Div => Div.apply(gradient, conj(y)?.operand()),
        Pow => {
            // y x^(y − 1), and 0 where y is 0, also at x = 0.
            let less = match y {
                Operand::Number(n) => Owned::Number(Number::Float(n.to_f64() - 1.0)),
                Operand::Tensor(_) => Owned::Tensor(Sub.apply(y, 1.0)?),
            };
            let steep = Mul.apply(y, &Pow.apply(x, less.operand())?)?;
            let slope = Mul.apply(gradient, &complex::conj(&steep)?)?;
            zeroed(y, Comparison::Eq, 0.0.into(), slope)
        }
        Minimum => share(gradient, x, y, Comparison::Gt),
        Maximum => share(gradient, x, y, Comparison::Lt),
    }
}

/// The gradient of the right operand `y`; `out` is the result.
pub(super) fn right(
    of: Arithmetic,
    gradient: &Value,
    x: Operand,
    y: Operand,
    out: &Value,
) -> Result<Value> {
    use Arithmetic::{Add, Div, Maximum, Minimum, Mul, Pow, Rem, Sub};
    match of {
        Add => Ok(gradient.clone()),
        Sub => arithmetic::negate(gradient),
        Mul => Mul.apply(gradient, conj(x)?.operand()),
        Div => {
            let share = complex::conj(&Div.apply(out, y)?)?;
            arithmetic::negate(&Mul.apply(gradient, &share)?)
        }
        Rem => {
            let times = PiecewiseLinear::Floor.apply(&Div.apply(x, y)?)?;
            arithmetic::negate(&Mul.apply(gradient, &times)?)
        }
        Pow => {
            // x^y ln x, and 0 at x = 0 for y ≥ 0.
            let base = x.value(Kind::of(out), out.device())?;
            let steep = Mul.apply(out, &complex::log(&base)?)?;
            let slope = Mul.apply(gradient, &complex::conj(&steep)?)?;
            let whole = y.value(Kind::of(out), out.device())?;
            let at_zero = Comparison::Eq.apply(&base, 0.0)?;
            let rising = Comparison::Ge.apply(&complex::real(&whole)?, 0.0)?;
            let none = Mul.apply(&at_zero, &rising)?;
            where_(&none, Operand::from(0.0), (&slope).into())
        }
        Minimum => share(gradient, y, x, Comparison::Gt),
        Maximum => share(gradient, y, x, Comparison::Lt),
    }
}

/// [`arithmetic::clamp`] of which an operand is tracked.
pub(super) fn clamp(x: &Value, lo: Option<Operand>, hi: Option<Operand>) -> Result<Value> {
    // Numbers are part of the operation, tensors are its inputs.
    let place = |bound: Option<Operand>, at: usize| match bound {
        Some(Operand::Number(n)) => Some(Bound::Number(n)),
        Some(Operand::Tensor(_)) => Some(Bound::Input(at)),
        None => None,
    };
    let tensor = |bound: Option<Operand<'_>>| matches!(bound, Some(Operand::Tensor(_)));
    let bounds = [place(lo, 1), place(hi, 1 + usize::from(tensor(lo)))];
    let mut inputs = vec![x];
    for bound in [lo, hi].into_iter().flatten() {
        if let Operand::Tensor(value) = bound {
            inputs.push(value);
        }
    }
    graph::operation(
        &inputs,
        |inputs| {
            let of = |bound: Option<Bound>| bound.map(|bound| bound.of(inputs));
            arithmetic::clamp(inputs[0], of(bounds[0]), of(bounds[1]))
        },
        move |back| {
            let (x, gradient) = (&back.inputs[0], &back.gradient);
            let all: Vec<&Value> = back.inputs.iter().collect();
            let [lo, hi] = bounds.map(|bound| bound.map(|bound| bound.of(&all)));
            let mut gradients = vec![back.of(0, || {
                let below = lo.map(|lo| Comparison::Ge.apply(x, lo)).transpose()?;
                let above = hi.map(|hi| Comparison::Le.apply(x, hi)).transpose()?;
                let mut passed = gradient.clone();
                for within in [below, above].into_iter().flatten() {
                    passed = where_(&within, (&passed).into(), Operand::from(0.0))?;
                }
                Ok(passed)
            })?];
            if let (Some(lo), Some(Bound::Input(at))) = (lo, bounds[0]) {
                gradients.push(back.of(at, || {
                    let lower = Comparison::Lt.apply(x, lo)?;
                    let counts = match hi {
                        Some(hi) => {
                            Arithmetic::Mul.apply(&lower, &Comparison::Lt.apply(lo, hi)?)?
                        }
                        None => lower,
                    };
                    where_(&counts, gradient.into(), Operand::from(0.0))
                })?);
            }
            if let (Some(hi), Some(Bound::Input(at))) = (hi, bounds[1]) {
                gradients.push(back.of(at, || {
                    let higher = Comparison::Gt.apply(x, hi)?;
                    let counts = match lo {
                        Some(lo) => {
                            Arithmetic::Add.apply(&higher, &Comparison::Lt.apply(hi, lo)?)?
                        }
                        None => higher,
                    };
                    where_(&counts, gradient.into(), Operand::from(0.0))
                })?);
            }
            Ok(gradients)
        },
    )
}

/// A bound of `clamp`.
#[derive(Clone, Copy)]
enum Bound {
    Number(Number),
    /// The input with this place.
    Input(usize),
}

impl Bound {
    fn of<'a>(self, inputs: &[&'a Value]) -> Operand<'a> {
        match self {
            Bound::Number(n) => Operand::Number(n),
            Bound::Input(at) => Operand::Tensor(inputs[at]),
        }
    }
}

/// An operand that was computed.
enum Owned {
    Number(Number),
    Tensor(Value),
}

impl Owned {
    fn operand(&self) -> Operand<'_> {
        match self {
            Owned::Number(n) => Operand::Number(*n),
            Owned::Tensor(value) => Operand::Tensor(value),
        }
    }
}

fn conj(x: Operand) -> Result<Owned> {
    Ok(match x {
        Operand::Number(n) => Owned::Number(n),
        Operand::Tensor(value) => Owned::Tensor(complex::conj(value)?),
    })
}

/// `slope`, and 0 where `x` compares so with `to`.
fn zeroed(x: Operand, so: Comparison, to: Operand, slope: Value) -> Result<Value> {
    match x {
        Operand::Number(n) if n.to_f64() != 0.0 => Ok(slope),
        Operand::Number(_) => slope.map(Tensor::zeros_like),
        Operand::Tensor(_) => where_(&so.apply(x, to)?, Operand::from(0.0), (&slope).into()),
    }
}

/// The gradient of a minimum or maximum of `x` and `y` with regard to x: none where the other
/// is chosen, which x `loses` by, and half of it where both are equal.
fn share(gradient: &Value, x: Operand, y: Operand, loses: Comparison) -> Result<Value> {
    let half = Arithmetic::Mul.apply(gradient, 0.5)?;
    let shared = where_(&Comparison::Eq.apply(x, y)?, (&half).into(), gradient.into())?;
    where_(&loses.apply(x, y)?, Operand::from(0.0), (&shared).into())
}
