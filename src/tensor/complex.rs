//! Complex numbers, which candle lacks: arithmetic on pairs of real tensors.

use candle_core::{DType, Device, Tensor};

use super::elementwise::arithmetic::Arithmetic;
use super::elementwise::loops;
use super::operand::Operand;
use super::{Complex, Kind, Value, dims, dtype};
use crate::{Result, error};

/// One complex number: real and imaginary part.
type Pair = (f64, f64);

/// `a op b` where at least one is complex; `kind` is the result's.
pub(super) fn arithmetic(
    op: Arithmetic,
    a: Operand,
    b: Operand,
    kind: Kind,
    device: &Device,
) -> Result<Value> {
    let ((a, ai), (b, bi)) = (a.parts(kind, device)?, b.parts(kind, device)?);
    let shape = dims::broadcast(a.dims(), b.dims(), op.name())?;
    let wide = |t: &Tensor| Ok::<_, crate::Error>(t.broadcast_as(shape.as_slice())?);
    let (re, im) = match op {
        Arithmetic::Add | Arithmetic::Sub => {
            let subtract = op == Arithmetic::Sub;
            let re = if subtract { a.broadcast_sub(&b)? } else { a.broadcast_add(&b)? };
            let im = match (ai, bi) {
                (Some(ai), Some(bi)) if subtract => ai.broadcast_sub(&bi)?,
                (Some(ai), Some(bi)) => ai.broadcast_add(&bi)?,
                (None, Some(bi)) if subtract => wide(&bi.neg()?)?,
                (Some(im), None) | (None, Some(im)) => wide(&im)?.contiguous()?,
                (None, None) => re.zeros_like()?,
            };
            (re, im)
        }
        Arithmetic::Mul => match (ai, bi) {
            (Some(ai), Some(bi)) => (
                a.broadcast_mul(&b)?.sub(&ai.broadcast_mul(&bi)?)?,
                a.broadcast_mul(&bi)?.add(&ai.broadcast_mul(&b)?)?,
            ),
            (Some(im), None) => (a.broadcast_mul(&b)?, im.broadcast_mul(&b)?),
            (None, Some(im)) => (a.broadcast_mul(&b)?, a.broadcast_mul(&im)?),
            (None, None) => (a.broadcast_mul(&b)?, wide(&a.zeros_like()?)?),
        },
        Arithmetic::Div => match (ai, bi) {
            (Some(ai), None) => (a.broadcast_div(&b)?, ai.broadcast_div(&b)?),
            (ai, bi) => zip((&a, ai), (&b, bi), &shape, divide)?,
        },
        Arithmetic::Pow => zip((&a, ai), (&b, bi), &shape, power)?,
        Arithmetic::Rem | Arithmetic::Minimum | Arithmetic::Maximum => {
            return Err(error!("{} has no meaning for complex tensors", op.name())
                .help("take .real, .imag, .abs() or .angle() first"));
        }
    };
    Ok(Value::Complex(Complex { re, im }))
}

/// `f` of each pair of complex numbers, worked out in double precision, in the dtype and on the
/// device of `a`.
fn zip(
    (a, ai): (&Tensor, Option<Tensor>),
    (b, bi): (&Tensor, Option<Tensor>),
    shape: &[usize],
    f: impl Fn(Pair, Pair) -> Pair,
) -> Result<(Tensor, Tensor)> {
    let elements =
        |t: &Tensor| loops::host::<f64>(&t.to_dtype(candle_core::DType::F64)?.broadcast_as(shape)?);
    let imaginary = |im: Option<Tensor>, re: &Tensor| match im {
        Some(im) => elements(&im),
        None => elements(&re.zeros_like()?),
    };
    let (xi, yi) = (imaginary(ai, a)?, imaginary(bi, b)?);
    let (x, y) = (elements(a)?, elements(b)?);
    let (re, im): (Vec<f64>, Vec<f64>) =
        (0..x.len()).map(|i| f((x[i], xi[i]), (y[i], yi[i]))).unzip();
    let part = |elements| {
        Ok::<_, crate::Error>(
            loops::place(elements, shape, &Device::Cpu)?
                .to_dtype(a.dtype())?
                .to_device(a.device())?,
        )
    };
    Ok((part(re)?, part(im)?))
}

/// Smith's method: no square that could overflow.
fn divide((a, b): Pair, (c, d): Pair) -> Pair {
    if c.abs() >= d.abs() {
        if c == 0.0 {
            return (a / c, b / c);
        }
        let (ratio, scale) = (d / c, c + d * (d / c));
        ((a + b * ratio) / scale, (b - a * ratio) / scale)
    } else {
        let (ratio, scale) = (c / d, c * (c / d) + d);
        ((a * ratio + b) / scale, (b * ratio - a) / scale)
    }
}

fn multiply((a, b): Pair, (c, d): Pair) -> Pair {
    (a * c - b * d, a * d + b * c)
}

/// The root whose real part is not negative.
fn sqrt((a, b): Pair) -> Pair {
    let larger = ((a.abs() + a.hypot(b)) / 2.0).sqrt();
    match (larger, a >= 0.0) {
        (0.0, _) => (0.0, b),
        (_, true) => (larger, b / larger / 2.0),
        (_, false) => (b.abs() / larger / 2.0, larger.copysign(b)),
    }
}

/// Whole powers by multiplication, which keeps `i ** 2` exactly -1; others through the logarithm.
fn power(base: Pair, (p, q): Pair) -> Pair {
    if q == 0.0 && p.fract() == 0.0 && p.abs() <= 64.0 {
        let whole = (0..p.abs() as u32).fold((1.0, 0.0), |out, _| multiply(out, base));
        return if p < 0.0 { divide((1.0, 0.0), whole) } else { whole };
    }
    if (p, q) == (0.5, 0.0) {
        return sqrt(base);
    }
    let (modulus, angle) = (base.0.hypot(base.1), base.1.atan2(base.0));
    if modulus == 0.0 {
        return if p > 0.0 { (0.0, 0.0) } else { (f64::NAN, f64::NAN) };
    }
    let scale = modulus.powf(p) * (-q * angle).exp();
    let turn = p * angle + q * modulus.ln();
    (scale * turn.cos(), scale * turn.sin())
}

/// The real part; a real or bool tensor is its own.
pub fn real(value: &Value) -> Value {
    match value {
        Value::Complex(c) => Value::Real(c.re.clone()),
        other => other.clone(),
    }
}

/// The imaginary part, zero for a real tensor.
pub fn imag(value: &Value) -> Result<Value> {
    match value {
        Value::Complex(c) => Ok(Value::Real(c.im.clone())),
        other => other.map(Tensor::zeros_like),
    }
}

/// The angle in radians from the positive real axis, in (-π, π]; of a real tensor 0, or π where
/// negative.
pub fn angle(value: &Value) -> Result<Value> {
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

/// The distance from 0.
pub(super) fn modulus(c: &Complex) -> Result<Tensor> {
    match c.re.dtype() {
        // In double precision no square of a float32 is too large.
        DType::F32 => loops::zip(&c.re, &c.im, |re: f32, im: f32| {
            let (re, im) = (f64::from(re), f64::from(im));
            (re * re + im * im).sqrt() as f32
        }),
        _ => loops::zip_float(&c.re, &c.im, f64::hypot),
    }
}

/// The complex conjugate; a real tensor is its own.
pub fn conj(value: &Value) -> Result<Value> {
    match value {
        Value::Complex(c) => Ok(Value::Complex(Complex { re: c.re.clone(), im: c.im.neg()? })),
        other => Ok(other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divides_without_overflow_and_powers_exactly() {
        let (re, im) = divide((1e300, 1e300), (1e300, 1e300));
        assert_eq!((re, im), (1.0, 0.0));
        assert_eq!(divide((1.0, 2.0), (0.0, 1.0)), (2.0, -1.0));
        assert_eq!(power((0.0, 1.0), (2.0, 0.0)), (-1.0, 0.0));
        assert_eq!(power((0.0, 2.0), (-1.0, 0.0)), (0.0, -0.5));
        assert_eq!(power((-4.0, 0.0), (0.5, 0.0)), (0.0, 2.0));
        assert_eq!(power((3.0, -4.0), (0.5, 0.0)), (2.0, -1.0));
        let (re, im) = power((0.0, 1.0), (0.0, 1.0));
        assert!((re - (-std::f64::consts::FRAC_PI_2).exp()).abs() < 1e-15 && im.abs() < 1e-15);
    }
}
