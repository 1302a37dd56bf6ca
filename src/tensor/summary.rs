//! The text that `print` shows for a tensor: all elements of a small one, statistics and the first
//! elements of a large one.

use super::elements;
use super::operand::Number;
use super::{Complex, Kind, Value, creation, device};
use crate::Result;

/// The largest number of elements that are all shown.
const SMALL: usize = 32;

/// How many elements of a large tensor are shown.
const SHOWN: usize = 6;

/// `tensor [2] f32 cpu: [1.0, 2.0]`, or for a large tensor
/// `tensor [64, 64] f32 cpu: mean 0.01, std 0.99, min -3.2, max 3.5: [0.1, -1.2, 0.3, 0.4, 0.5,
/// -0.6, …]`.
///
/// # Errors
/// The copy to the host fails.
pub fn summary(value: &Value) -> Result<String> {
    let head = format!(
        "tensor {:?} {} {}",
        value.dims(),
        value.dtype_name(),
        device::name(value.device())
    );
    if value.numel() == 0 {
        return Ok(format!("{head}: empty"));
    }
    if value.numel() <= SMALL {
        let elements = elements(value)?;
        return Ok(format!("{head}: {}", nested(&elements, value.dims())));
    }
    let first = value.map(|t| t.flatten_all()?.narrow(0, 0, SHOWN))?;
    let statistics = match value {
        Value::Complex(c) => format!(
            "abs {}",
            statistics(&super::elementwise::piecewise::abs(&Value::Complex(c.clone()))?)?
        ),
        real => statistics(real)?,
    };
    Ok(format!("{head}: {statistics}: [{}, …]", elements(&first)?.join(", ")))
}

/// The text of each element.
fn elements(value: &Value) -> Result<Vec<String>> {
    if let Value::Complex(Complex { re, im }) = value {
        let (re, im) =
            (creation::to_numbers(&re.clone().into())?, creation::to_numbers(&im.clone().into())?);
        return Ok(re
            .into_iter()
            .zip(im)
            .map(|(re, im)| complex(re.to_f64(), im.to_f64()))
            .collect());
    }
    Ok(creation::to_numbers(value)?
        .into_iter()
        .map(|n| match n {
            Number::Bool(b) => b.to_string(),
            Number::Int(i) => i.to_string(),
            Number::Float(f) => float(f),
        })
        .collect())
}

/// The texts in brackets, nested like the dims.
fn nested(elements: &[String], dims: &[usize]) -> String {
    match dims {
        [] => elements[0].clone(),
        [_] => format!("[{}]", elements.join(", ")),
        [rows, inner @ ..] => {
            let rows = elements.chunks(elements.len() / rows).map(|row| nested(row, inner));
            format!("[{}]", rows.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Mean, sample standard deviation, minimum and maximum of the elements that are not NaN, and the
/// number of NaNs; for a bool tensor the number of `true`.
fn statistics(value: &Value) -> Result<String> {
    if Kind::of(value) == Kind::Bool {
        let ones =
            elements::to_vec::<u8>(value.real("print")?)?.iter().filter(|b| **b != 0).count();
        return Ok(format!("{ones} of {} true", value.numel()));
    }
    let all: Vec<f64> = creation::to_numbers(value)?.into_iter().map(Number::to_f64).collect();
    let numbers: Vec<f64> = all.iter().copied().filter(|x| !x.is_nan()).collect();
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let std =
        (numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0)).sqrt();
    let (min, max) = numbers
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), &x| (lo.min(x), hi.max(x)));
    let nan = match all.len() - numbers.len() {
        0 => String::new(),
        n => format!(", nan {n}"),
    };
    let bound = |x: f64| if Kind::of(value).is_exact() { x.to_string() } else { float(x) };
    Ok(match numbers.is_empty() {
        true => "all nan".into(),
        false => format!(
            "mean {}, std {}, min {}, max {}{nan}",
            float(mean),
            float(std),
            bound(min),
            bound(max)
        ),
    })
}

/// A float with at most five significant digits, and with a decimal point that tells it from an
/// integer.
fn float(x: f64) -> String {
    let size = x.abs();
    if x.is_nan() {
        "nan".into()
    } else if x.is_infinite() {
        if x > 0.0 { "inf".into() } else { "-inf".into() }
    } else if size == 0.0 {
        "0.0".into()
    } else if (1e-3..1e6).contains(&size) {
        let decimals = (4 - size.log10().floor() as i32).clamp(1, 7) as usize;
        let text = format!("{x:.decimals$}");
        let trimmed = text.trim_end_matches('0');
        if trimmed.ends_with('.') { format!("{trimmed}0") } else { trimmed.to_owned() }
    } else {
        let text = format!("{x:.4e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let digits = digits.trim_end_matches('0');
        let digits = if digits.ends_with('.') { format!("{digits}0") } else { digits.to_owned() };
        format!("{digits}e{exponent}")
    }
}

fn complex(re: f64, im: f64) -> String {
    let sign = if im.is_sign_negative() && im != 0.0 { '-' } else { '+' };
    format!("{}{sign}{}i", float(re), float(im.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_keep_five_digits() {
        let cases = [
            (1.0, "1.0"),
            (0.1f32 as f64, "0.1"),
            (1.0 / 3.0, "0.33333"),
            (-123.456, "-123.46"),
            (99999.96, "100000.0"),
            (1e6, "1.0e6"),
            (1.5e-5, "1.5e-5"),
            (-0.0, "0.0"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (x, expected) in cases {
            assert_eq!(float(x), expected);
        }
        assert_eq!(complex(1.0, -2.5), "1.0-2.5i");
    }
}
