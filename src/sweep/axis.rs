//! The values that a parameter takes in a sweep: `k=v1,v2,…`, `k=a..b` and `k=a..b:step`.

use std::str::FromStr;

use crate::{Error, Result, bail, error};

/// The most values of one parameter.
const MAX_VALUES: usize = 1_000_000;

/// A parameter and its values, as `--set` takes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The parameter.
    pub name: String,
    /// Its values, in order.
    pub values: Vec<String>,
}

impl FromStr for Axis {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((name, values)) = text.split_once('=').filter(|(name, _)| !name.trim().is_empty())
        else {
            return Err(error!("{text:?} gives no parameter its values")
                .help("as in lr=0.1,0.2 or layer=0..12 or cutoff=0.0..1.0:0.25"));
        };
        let values = match range(values) {
            Some(range) => range.map_err(|e| e.at(text))?,
            None => values.split(',').map(|value| value.trim().to_owned()).collect(),
        };
        if values.is_empty() {
            bail!("{text}: the range has no values");
        }
        Ok(Self { name: name.trim().to_owned(), values })
    }
}

/// The values of `a..b` or `a..b:step`, b left out, or of `a..=b`; nothing if it is no range of
/// numbers.
fn range(text: &str) -> Option<Result<Vec<String>>> {
    let (range, step) = match text.split_once(':') {
        Some((range, step)) => (range, Some(step.trim())),
        None => (text, None),
    };
    let (from, to) = range.split_once("..")?;
    let (to, inclusive) = match to.strip_prefix('=') {
        Some(to) => (to, true),
        None => (to, false),
    };
    let [from, to] = [from.trim(), to.trim()];
    if let (Ok(from), Ok(to), Ok(step)) =
        (from.parse::<i64>(), to.parse::<i64>(), step.unwrap_or("1").parse::<i64>())
    {
        return Some(integers(from, to, step, inclusive));
    }
    let number = |text: &str| text.parse::<f64>().ok().filter(|x| x.is_finite());
    let (from_value, to_value) = (number(from)?, number(to)?);
    let Some(step) = step else {
        return Some(Err(
            error!("a range of fractions needs a step").help(format!("as in {from}..{to}:0.1"))
        ));
    };
    let step_value = number(step)?;
    let decimals = [from, step].iter().map(|text| decimals(text)).max().unwrap_or(0);
    Some(fractions(from_value, to_value, step_value, decimals, inclusive))
}

/// How many decimals a number of this text has: 4 of `1.5e-3`.
fn decimals(text: &str) -> usize {
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let after = digits.split_once('.').map_or(0, |(_, after)| after.len());
    // No finite number has more decimals than that.
    let exponent = exponent.parse::<i64>().unwrap_or(0).clamp(-400, 400);
    usize::try_from(after as i64 - exponent).unwrap_or(0)
}

fn integers(from: i64, to: i64, step: i64, inclusive: bool) -> Result<Vec<String>> {
    if step <= 0 {
        bail!("the step must be above 0, not {step}");
    }
    let to = if inclusive { to.saturating_add(1) } else { to };
    let count = to.saturating_sub(from).max(0).unsigned_abs().div_ceil(step.unsigned_abs());
    check(count)?;
    let values = (0..).map_while(|i: i64| i.checked_mul(step)?.checked_add(from));
    Ok(values.take_while(|value| *value < to).map(|value| value.to_string()).collect())
}

fn fractions(
    from: f64,
    to: f64,
    step: f64,
    decimals: usize,
    inclusive: bool,
) -> Result<Vec<String>> {
    if step <= 0.0 {
        bail!("the step must be above 0, not {step}");
    }
    // A step's rounding error must neither add the end nor leave it out.
    let slack = step * 1e-9;
    let end = if inclusive { to + slack } else { to - slack };
    let count = ((end - from) / step).ceil().max(0.0);
    check(if count < 1e18 { count as u64 } else { u64::MAX })?;
    let values =
        (0..count as u64 + 1).map(|i| from + i as f64 * step).take_while(|value| *value < end);
    Ok(values.map(|value| format!("{value:.decimals$}")).collect())
}

fn check(count: u64) -> Result<()> {
    if count > MAX_VALUES as u64 {
        bail!("the range has {count} values, and at most {MAX_VALUES} are taken");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> String {
        text.parse::<Axis>().unwrap().values.join(" ")
    }

    #[test]
    fn values_are_lists_and_ranges() {
        assert_eq!(values("lr=0.1,1e-3"), "0.1 1e-3");
        assert_eq!(values("prompt=a b, c"), "a b c");
        assert_eq!(values("layer=0..4"), "0 1 2 3");
        assert_eq!(values("layer=0..=4:2"), "0 2 4");
        assert_eq!(values("layer=-2..2:3"), "-2 1");
        assert_eq!(values("cutoff=0.0..0.5:0.1"), "0.0 0.1 0.2 0.3 0.4");
        assert_eq!(values("cutoff=0..=1:0.25"), "0.00 0.25 0.50 0.75 1.00");
        assert_eq!(values("lr=1e-3..5e-3:1.5e-3"), "0.0010 0.0025 0.0040");
        assert_eq!(values("lr=0..1e3:5e2"), "0 500");
        assert_eq!(values("path=../x"), "../x");
        assert_eq!(values("x="), "");
    }

    #[test]
    fn what_is_no_axis_is_a_sentence() {
        for (text, sentence) in [
            ("lr", "\"lr\" gives no parameter its values"),
            ("=1", "\"=1\" gives no parameter its values"),
            ("x=3..3", "x=3..3: the range has no values"),
            ("x=0..4:0", "x=0..4:0: the step must be above 0, not 0"),
            ("x=0.0..1.0", "x=0.0..1.0: a range of fractions needs a step"),
            (
                "x=0..99999999999",
                "x=0..99999999999: the range has 99999999999 values, and at most 1000000 are taken",
            ),
        ] {
            assert_eq!(text.parse::<Axis>().unwrap_err().message(), sentence);
        }
    }
}
