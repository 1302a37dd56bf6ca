//! `sum`, `mean`, `min`, `max` and `logsumexp` of arrays of numbers.

use rhai::{Array, Dynamic, FLOAT};

use super::arguments::number;
use crate::script::declare::{Gradient, OnGpu, Page, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::value::options::describe;
use crate::tensor::Number;
use crate::{Result, bail, error};

/// Registers the reductions of arrays.
pub fn install(registry: &mut Registry) {
    registry.section(Page::Tensors, "Arrays and texts");
    registry
        .declare("sum(array)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row_for(
            "of an array",
            "of numbers: likewise `mean`, `min`, `max`; of an empty one these three are errors",
            "let a = [3, 1.5]; [a.sum(), a.mean(), a.min(), a.max()]",
            "[4.5, 2.25, 1.5, 3]",
        )
        .function(of("sum", sum));
    registry
        .declare("mean(array)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .function(of("mean", mean));
    registry
        .declare("min(array)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .function(of("min", min));
    registry
        .declare("max(array)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .function(of("max", max));
    registry
        .declare("logsumexp(array)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row_for(
            "of an array",
            "of numbers; -inf of an empty one",
            "[0.0, 0.0].logsumexp()",
            "0.6931471805599453",
        )
        .function(of("logsumexp", logsumexp));
}

/// A reduction as a function of an array from a script.
fn of(
    name: &'static str,
    of: fn(&[Number]) -> Result<Number>,
) -> impl Fn(&mut Array) -> ScriptResult<Dynamic> {
    move |array| {
        let found = numbers(name, array).and_then(|numbers| of(&numbers))?;
        Ok(match found {
            Number::Int(int) => int.into(),
            other => other.to_f64().into(),
        })
    }
}

fn numbers(call: &str, array: &Array) -> Result<Vec<Number>> {
    let read = |value: &Dynamic| match number(value) {
        Some(number @ (Number::Int(_) | Number::Float(_))) => Ok(number),
        _ => {
            Err(error!("{call} of an array takes numbers, and this one holds {}", describe(value))
                .help(format!(
                    "stack(array).{call}(0) takes tensors, tensor(array).{call}() nested arrays"
                )))
        }
    };
    array.iter().map(read).collect()
}

/// The sum: an integer if all numbers are; 0 for an empty array.
fn sum(numbers: &[Number]) -> Result<Number> {
    let mut whole = Some(0i64);
    for number in numbers {
        match number {
            Number::Int(int) => whole = whole.and_then(|sum| sum.checked_add(*int)),
            _ => return Ok(Number::Float(numbers.iter().map(|number| number.to_f64()).sum())),
        }
    }
    whole.map(Number::Int).ok_or_else(|| {
        error!("sum: the integers of the array add up to more than an integer can be")
    })
}

/// The logarithm of the sum of the exponentials, which may be greater than a float can be.
fn logsumexp(numbers: &[Number]) -> Result<Number> {
    let numbers = || numbers.iter().map(|number| number.to_f64());
    let most = numbers().fold(FLOAT::NEG_INFINITY, FLOAT::max);
    // Infinity less infinity is no number.
    let shift = if most.is_finite() { most } else { 0.0 };
    let sum: FLOAT = numbers().map(|number| (number - shift).exp()).sum();
    Ok(Number::Float(sum.ln() + shift))
}

fn mean(numbers: &[Number]) -> Result<Number> {
    if numbers.is_empty() {
        bail!("mean of an empty array is undefined");
    }
    // Dividing before adding avoids an overflow of the sum where the mean itself is finite.
    let count = numbers.len() as FLOAT;
    let sum: FLOAT = numbers.iter().map(|number| number.to_f64()).sum();
    let parts = || numbers.iter().map(|number| number.to_f64() / count).sum();
    Ok(Number::Float(if sum.is_finite() { sum / count } else { parts() }))
}

fn min(numbers: &[Number]) -> Result<Number> {
    first("min", numbers, |a, b| a < b)
}

fn max(numbers: &[Number]) -> Result<Number> {
    first("max", numbers, |a, b| a > b)
}

/// The first number in the order of `before`, or NaN if any number is NaN.
fn first(call: &str, numbers: &[Number], before: fn(FLOAT, FLOAT) -> bool) -> Result<Number> {
    let nan = numbers.iter().find(|number| number.to_f64().is_nan());
    let chosen = numbers.iter().reduce(|a, b| match (a, b) {
        (Number::Int(x), Number::Int(y)) => {
            if before(x.cmp(y) as i8 as FLOAT, 0.0) {
                a
            } else {
                b
            }
        }
        _ => {
            if before(b.to_f64(), a.to_f64()) {
                b
            } else {
                a
            }
        }
    });
    nan.or(chosen).copied().ok_or_else(|| error!("{call} of an empty array is undefined"))
}
