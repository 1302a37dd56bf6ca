//! Parts of complex tensors, which candle lacks: `real`, `imag`, `angle`, `abs` and `conj`.

use candle_core::{DType, Tensor};

use super::arithmetic::Arithmetic;
use super::comparison::Comparison;
use super::function::Function;
use super::{loops, piecewise};
use crate::Result;
use crate::kernel::elementwise;
use crate::tensor::index::masked;
use crate::tensor::operand::Operand;
use crate::tensor::{Complex, Kind, Value, dtype, graph};

/// The real part, as `torch.real`. A real or bool tensor is returned as it is.
///
/// # Errors
/// There is no memory for it.
pub fn real(value: &Value) -> Result<Value> {
    match value {
        Value::Complex(c) => part(value, &c.re),
        other => Ok(other.clone()),
    }
}

/// A part of a complex value. One that is constant beside a tracked part, as the imaginary part of
/// what was real, is tracked too, with a gradient of 0.
fn part(value: &Value, part: &Tensor) -> Result<Value> {
    if value.is_tracked() && !part.track_op() {
        return graph::constant(value, |_| Ok(Value::Real(part.force_contiguous()?)));
    }
    Ok(Value::Real(part.clone()))
}

/// The imaginary part: zeros of the same dtype for a real tensor.
///
/// # Errors
/// There is no memory for it.
pub fn imag(value: &Value) -> Result<Value> {
    match value {
        Value::Complex(c) => part(value, &c.im),
        other => graph::constant(other, |other| other.map(Tensor::zeros_like)),
    }
}

/// The angle of each element to the positive real axis in radians, in (-π, π], as `torch.angle`:
/// for a real tensor π where it is negative, NaN where it is NaN, and 0 elsewhere.
///
/// # Errors
/// There is no memory for it.
pub fn angle(value: &Value) -> Result<Value> {
    if let Value::Complex(_) = value {
        return graph::operation(
            &[value],
            |inputs| angles(inputs[0]),
            |back| {
                back.of_one(|| {
                    // The angle grows across the direction of z, by 1 / |z|; at 0 by nothing.
                    let z = &back.inputs[0];
                    let distance = piecewise::abs(z)?;
                    let Value::Complex(away) = direction(z, &distance)? else {
                        return Ok(distance);
                    };
                    let across =
                        Value::Complex(Complex { re: elementwise::neg(&away.im)?, im: away.re });
                    let across = Arithmetic::Div.apply(&across, &distance)?;
                    let across = masked::where_(
                        &Comparison::Eq.apply(&distance, 0.0)?,
                        Operand::from(0.0),
                        (&across).into(),
                    )?;
                    Arithmetic::Mul.apply(&back.gradient, &across)
                })
            },
        );
    }
    graph::constant(value, angles)
}

fn angles(value: &Value) -> Result<Value> {
    Ok(Value::Real(match value {
        Value::Complex(c) => loops::zip_float(&c.im, &c.re, f64::atan2)?,
        other => {
            let float = dtype::cast(other, Kind::of(other).to_float())?;
            let turn = |x: f64| match x {
                x if x.is_nan() => x,
                x if x < 0.0 => std::f64::consts::PI,
                _ => 0.0,
            };
            loops::map_float(float.real("angle")?, turn)?
        }
    }))
}

/// z / |z|, and 0 for 0: `torch.sgn`. `distance` is |z|.
pub(super) fn direction(z: &Value, distance: &Value) -> Result<Value> {
    masked::where_(
        &Comparison::Eq.apply(distance, 0.0)?,
        Operand::from(0.0),
        (&Arithmetic::Div.apply(z, distance)?).into(),
    )
}

/// The principal logarithm of real or complex numbers: ln |z| + i angle(z).
pub(super) fn log(z: &Value) -> Result<Value> {
    let Value::Complex(c) = z else { return Function::Log.apply(z) };
    let distance = Function::Log.apply(&Value::Real(modulus(c)?))?;
    let part = |value: Value| Ok::<_, crate::Error>(value.real("log")?.clone());
    Ok(Value::Complex(Complex { re: part(distance)?, im: part(angles(z)?)? }))
}

/// The absolute value of each element.
pub(super) fn modulus(c: &Complex) -> Result<Tensor> {
    match c.re.dtype() {
        // In f64 the square of an f32 cannot overflow.
        DType::F32 => loops::zip(&c.re, &c.im, |re: f32, im: f32| {
            let (re, im) = (f64::from(re), f64::from(im));
            (re * re + im * im).sqrt() as f32
        }),
        _ => loops::zip_float(&c.re, &c.im, f64::hypot),
    }
}

/// The complex conjugate, as `torch.conj`. A real tensor is returned as it is.
///
/// # Errors
/// There is no memory for it.
pub fn conj(value: &Value) -> Result<Value> {
    match value {
        Value::Complex(c) => {
            Ok(Value::Complex(Complex { re: c.re.clone(), im: elementwise::neg(&c.im)? }))
        }
        other => Ok(other.clone()),
    }
}
