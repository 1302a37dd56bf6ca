//! Numbers as text for people.

use crate::{Result, bail};

/// `x` in short: four significant digits without trailing zeros, an integer in full, and scientific
/// notation for tiny and huge values.
pub fn number(x: f64) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf" } else { "-inf" }.into();
    }
    if x == 0.0 {
        return "0".into();
    }
    let size = x.abs();
    if x.fract() == 0.0 && size < 1e9 {
        return format!("{x:.0}");
    }
    if !(1e-4..1e6).contains(&size) {
        return scientific(x, 3);
    }
    let decimals = (3 - size.log10().floor() as i32).max(0) as usize;
    trimmed(&format!("{x:.decimals$}"))
}

/// Checks the number of digits after the point that a script asks for.
///
/// # Errors
/// Fewer than 0 or more than 100.
pub fn digits(asked: i64) -> Result<usize> {
    match usize::try_from(asked) {
        Ok(digits @ 0..=100) => Ok(digits),
        _ => bail!("fixed writes 0 to 100 digits after the point, not {asked}"),
    }
}

/// `x` with exactly `digits` digits after the point.
pub fn fixed(x: f64, digits: usize) -> String {
    if x.is_finite() { format!("{x:.digits$}") } else { number(x) }
}

/// `x` in scientific notation, its mantissa with at most `digits` digits after the point and no
/// trailing zeros.
pub(super) fn scientific(x: f64, digits: usize) -> String {
    let text = format!("{x:.digits$e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => format!("{}e{exponent}", trimmed(mantissa)),
        None => text,
    }
}

fn trimmed(text: &str) -> String {
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
    if text == "-0" { "0".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (3.0, "3"),
            (-128.0, "-128"),
            (50272.0, "50272"),
            (0.1, "0.1"),
            (0.123456, "0.1235"),
            (-12.3456, "-12.35"),
            (12345.678, "12346"),
            (0.99999, "1"),
            (0.00012345, "0.0001234"),
            (0.000012345, "1.234e-5"),
            (1e-7, "1e-7"),
            (1234567.5, "1.235e6"),
            (1e12, "1e12"),
            (f64::NAN, "nan"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (x, expected) in cases {
            assert_eq!(number(x), expected);
        }
    }
}
