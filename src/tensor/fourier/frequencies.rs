//! `fftfreq` and `rfftfreq`, the frequencies of the results of a transform; `fftshift` and
//! `ifftshift`, their order.

use candle_core::Device;

use crate::tensor::shape::rearrange;
use crate::tensor::{Kind, Value, dims, dtype, elements};
use crate::{Result, bail};

/// `torch.fft.fftfreq`: the frequencies of the `n` results of `fft` in cycles per unit, for samples
/// that are `d` units apart.
///
/// # Errors
/// `n` is below 1, `d` is 0 or not finite, or the result exceeds the memory limit.
pub fn fftfreq(n: i64, d: f64, kind: Kind, device: &Device) -> Result<Value> {
    let n = frequencies("fftfreq", n, d)?;
    let cycle = |i: i64| if i < (n + 1) / 2 { i } else { i - n };
    place((0..n).map(cycle), n as f64 * d, kind, device)
}

/// `torch.fft.rfftfreq`: the frequencies of the n/2 + 1 results of `rfft`, none of them negative.
///
/// # Errors
/// As [`fftfreq`].
pub fn rfftfreq(n: i64, d: f64, kind: Kind, device: &Device) -> Result<Value> {
    let n = frequencies("rfftfreq", n, d)?;
    place(0..=n / 2, n as f64 * d, kind, device)
}

/// Checks the arguments of `call`.
fn frequencies(call: &str, n: i64, d: f64) -> Result<i64> {
    if n < 1 {
        bail!("{call}: the length must be at least 1, not {n}");
    }
    if d == 0.0 || !d.is_finite() {
        bail!("{call}: d, the distance between samples, must be a number other than 0, not {d}");
    }
    dims::check_size(&[n as usize])?;
    Ok(n)
}

fn place(
    cycles: impl Iterator<Item = i64>,
    length: f64,
    kind: Kind,
    device: &Device,
) -> Result<Value> {
    let elements: Vec<f64> = cycles.map(|cycles| cycles as f64 / length).collect();
    let count = elements.len();
    dtype::cast(&Value::Real(elements::from_vec(elements, &[count], device)?), kind)
}

/// `torch.fft.fftshift`: frequency 0 moved from the front to the middle of the named dims, by
/// default of all dims.
///
/// # Errors
/// The tensor does not have one of the dims, or one is named twice.
pub fn fftshift(value: &Value, named: Option<&[i64]>) -> Result<Value> {
    roll_half(value, named, |size| size / 2)
}

/// `torch.fft.ifftshift`: the inverse of [`fftshift`], for odd sizes too.
///
/// # Errors
/// As [`fftshift`].
pub fn ifftshift(value: &Value, named: Option<&[i64]>) -> Result<Value> {
    roll_half(value, named, |size| -(size / 2))
}

fn roll_half(value: &Value, named: Option<&[i64]>, half: impl Fn(i64) -> i64) -> Result<Value> {
    let dims = match named {
        Some(named) => dims::distinct(named, value.dims())?,
        None => (0..value.rank()).collect(),
    };
    let shifts: Vec<i64> = dims.iter().map(|&dim| half(value.dims()[dim] as i64)).collect();
    let named: Vec<i64> = dims.into_iter().map(|dim| dim as i64).collect();
    rearrange::roll(value, &shifts, Some(&named))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(value: &Value) -> Vec<f64> {
        elements::to_vec(value.parts()[0]).unwrap()
    }

    #[test]
    fn frequencies_and_shifts_are_numpys() {
        let numbers = |value: Result<Value>| elements(&value.unwrap());
        let cpu = &Device::Cpu;
        assert_eq!(numbers(fftfreq(4, 0.5, Kind::F64, cpu)), [0.0, 0.5, -1.0, -0.5]);
        assert_eq!(numbers(fftfreq(5, 0.2, Kind::F64, cpu)), [0.0, 1.0, 2.0, -2.0, -1.0]);
        assert_eq!(numbers(rfftfreq(4, 0.25, Kind::F64, cpu)), [0.0, 1.0, 2.0]);
        assert_eq!(numbers(rfftfreq(5, 0.2, Kind::F64, cpu)), [0.0, 1.0, 2.0]);
        assert_eq!(fftfreq(0, 1.0, Kind::F32, cpu).unwrap_err().message(), {
            "fftfreq: the length must be at least 1, not 0"
        });
        let five = fftfreq(5, 0.2, Kind::F64, cpu).unwrap();
        let shifted = fftshift(&five, None).unwrap();
        assert_eq!(elements(&shifted), [-2.0, -1.0, 0.0, 1.0, 2.0]);
        assert_eq!(numbers(ifftshift(&shifted, Some(&[-1]))), elements(&five));
    }
}
