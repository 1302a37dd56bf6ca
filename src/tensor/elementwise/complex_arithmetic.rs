//! `+ - * / **` on complex tensors, which candle lacks: arithmetic on pairs of real tensors.

use candle_core::{DType, Device, Tensor};

use crate::Result;
use crate::kernel::elementwise;
use crate::kernel::elementwise::Binary::{Add, Div, Mul, Sub};
use crate::tensor::{Complex, elements};

/// One complex number: real and imaginary part.
type Pair = (f64, f64);

/// Two broadcast operands of which at least one is complex: real tensors of one dtype (f32 or f64)
/// on one device, and their imaginary parts, absent where they are zero.
pub(super) struct ComplexOperands<'a> {
    /// The left operand.
    pub a: (Tensor, Option<Tensor>),
    /// The right operand.
    pub b: (Tensor, Option<Tensor>),
    /// The shape that both broadcast to.
    pub shape: &'a [usize],
}

impl ComplexOperands<'_> {
    /// `a + b`.
    pub(super) fn sum(&self) -> Result<Complex> {
        let ((a, a_im), (b, b_im)) = (&self.a, &self.b);
        let re = Add.apply(a, b)?;
        let im = match (a_im, b_im) {
            (Some(a), Some(b)) => Add.apply(a, b)?,
            (Some(im), None) | (None, Some(im)) => self.broadcast(im)?.contiguous()?,
            (None, None) => re.zeros_like()?,
        };
        Ok(Complex { re, im })
    }

    /// `a - b`.
    pub(super) fn difference(&self) -> Result<Complex> {
        let ((a, a_im), (b, b_im)) = (&self.a, &self.b);
        let re = Sub.apply(a, b)?;
        let im = match (a_im, b_im) {
            (Some(a), Some(b)) => Sub.apply(a, b)?,
            (Some(a), None) => self.broadcast(a)?.contiguous()?,
            (None, Some(b)) => self.broadcast(&elementwise::neg(b)?)?,
            (None, None) => re.zeros_like()?,
        };
        Ok(Complex { re, im })
    }

    /// `a * b`.
    pub(super) fn product(&self) -> Result<Complex> {
        let ((a, a_im), (b, b_im)) = (&self.a, &self.b);
        let real = Mul.apply(a, b)?;
        Ok(match (a_im, b_im) {
            (Some(a_im), Some(b_im)) => Complex {
                re: Sub.apply(&real, &Mul.apply(a_im, b_im)?)?,
                im: Add.apply(&Mul.apply(a, b_im)?, &Mul.apply(a_im, b)?)?,
            },
            (Some(a_im), None) => Complex { re: real, im: Mul.apply(a_im, b)? },
            (None, Some(b_im)) => Complex { re: real, im: Mul.apply(a, b_im)? },
            (None, None) => Complex { im: self.broadcast(&a.zeros_like()?)?, re: real },
        })
    }

    /// `a / b`.
    pub(super) fn quotient(&self) -> Result<Complex> {
        match (&self.a, &self.b) {
            ((a, Some(a_im)), (b, None)) => {
                Ok(Complex { re: Div.apply(a, b)?, im: Div.apply(a_im, b)? })
            }
            _ => self.zip(divide),
        }
    }

    /// `a ** b`.
    pub(super) fn power(&self) -> Result<Complex> {
        self.zip(power)
    }

    fn broadcast(&self, part: &Tensor) -> Result<Tensor> {
        Ok(part.broadcast_as(self.shape)?)
    }

    /// `f` of each pair of complex numbers, computed in f64 on the CPU and rounded to the operands'
    /// dtype; the result is on their device.
    fn zip(&self, f: impl Fn(Pair, Pair) -> Pair) -> Result<Complex> {
        let ((a, a_im), (b, b_im)) = (&self.a, &self.b);
        let elements =
            |t: &Tensor| elements::to_vec::<f64>(&self.broadcast(&t.to_dtype(DType::F64)?)?);
        let imaginary = |im: &Option<Tensor>, re: &Tensor| match im {
            Some(im) => elements(im),
            None => elements(&re.zeros_like()?),
        };
        let (x_im, y_im) = (imaginary(a_im, a)?, imaginary(b_im, b)?);
        let (x, y) = (elements(a)?, elements(b)?);
        let (re, im): (Vec<f64>, Vec<f64>) =
            (0..x.len()).map(|i| f((x[i], x_im[i]), (y[i], y_im[i]))).unzip();
        let part = |part: Vec<f64>| -> Result<Tensor> {
            Ok(elements::from_vec(part, self.shape, &Device::Cpu)?
                .to_dtype(a.dtype())?
                .to_device(a.device())?)
        };
        Ok(Complex { re: part(re)?, im: part(im)? })
    }
}

/// Division without squares, which could overflow (Smith 1962, "Algorithm 116: Complex division").
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

/// The principal square root, whose real part is not negative.
fn sqrt((a, b): Pair) -> Pair {
    let larger = ((a.abs() + a.hypot(b)) / 2.0).sqrt();
    match (larger, a >= 0.0) {
        (0.0, _) => (0.0, b),
        (_, true) => (larger, b / larger / 2.0),
        (_, false) => (b.abs() / larger / 2.0, larger.copysign(b)),
    }
}

/// Small integer powers by multiplication, so that `i ** 2` is exactly -1; others by the logarithm.
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
