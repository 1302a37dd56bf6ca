//! New tensors: from numbers, `full`, `zeros`, `ones`, `arange`, `linspace`, `eye`.
//!
//! Random ones are in [`random`](super::random).

use candle_core::{DType, Device, Tensor};

use super::elements::{self, by_dtype};
use super::operand::Number;
use super::{Kind, Value, dims, dtype};
use crate::{Result, bail};

/// A tensor of shape `dims` from numbers in row-major order, like `torch.tensor`.
///
/// Without a `kind` the dtype is bool for bools, i64 if there are integers, and f32 if there are
/// floats or no numbers at all.
///
/// # Errors
/// An integer or bool `kind` cannot hold a number.
pub fn from_numbers(
    numbers: &[Number],
    dims: &[usize],
    kind: Option<Kind>,
    device: &Device,
) -> Result<Value> {
    let given = numbers.iter().map(|n| n.kind()).max().unwrap_or(Kind::F32);
    let kind = kind.unwrap_or(given);
    if kind.is_exact() {
        numbers.iter().try_for_each(|number| number.check_holds(kind))?;
    }
    let tensor = if given.is_exact() {
        let whole = numbers.iter().map(|n| match n {
            Number::Int(i) => *i,
            other => other.to_f64() as i64,
        });
        elements::from_vec(whole.collect(), dims, &Device::Cpu)?
    } else {
        elements::from_vec(numbers.iter().map(|n| n.to_f64()).collect(), dims, &Device::Cpu)?
    };
    dtype::cast(&Value::Real(tensor), kind)?.map(|t| t.to_device(device))
}

/// A tensor of shape `dims` filled with `number`.
///
/// # Errors
/// `kind` cannot hold the number.
pub fn full(dims: &[usize], number: Number, kind: Kind, device: &Device) -> Result<Value> {
    number.check_holds(kind)?;
    let one = number.value(kind, device)?;
    one.map(|t| t.broadcast_as(dims)?.contiguous())
}

/// A tensor of zeros (`false` for bool). If a size in `dims` is 0 it is the empty tensor of that
/// shape.
///
/// # Errors
/// There is no memory for it.
pub fn zeros(dims: &[usize], kind: Kind, device: &Device) -> Result<Value> {
    let zeros = || Tensor::zeros(dims, kind.storage(), device);
    Ok(match kind {
        Kind::Bool => Value::Bool(zeros()?),
        Kind::C64 | Kind::C128 => Value::Complex(super::Complex { re: zeros()?, im: zeros()? }),
        _ => Value::Real(zeros()?),
    })
}

/// A tensor of ones (`true` for bool).
///
/// # Errors
/// There is no memory for it.
pub fn ones(dims: &[usize], kind: Kind, device: &Device) -> Result<Value> {
    let ones = || Tensor::ones(dims, kind.storage(), device);
    Ok(match kind {
        Kind::Bool => Value::Bool(ones()?),
        Kind::C64 | Kind::C128 => Value::Complex(super::Complex {
            re: ones()?,
            im: Tensor::zeros(dims, kind.storage(), device)?,
        }),
        _ => Value::Real(ones()?),
    })
}

/// The numbers `start`, `start + step`, … before `end`, as a vector, like `torch.arange`. Without a
/// `kind` the dtype is i64 if all three numbers are integers, else f32.
///
/// # Errors
/// `step` is 0 or leads away from `end`, a number is not finite, or `kind` cannot hold one.
pub fn arange(
    start: Number,
    end: Number,
    step: Number,
    kind: Option<Kind>,
    device: &Device,
) -> Result<Value> {
    let (from, to, by) = (start.to_f64(), end.to_f64(), step.to_f64());
    if !(from.is_finite() && to.is_finite() && by.is_finite()) {
        bail!("arange needs finite numbers, not {from}, {to} and {by}");
    }
    if by == 0.0 || (to - from) * by < 0.0 {
        bail!("arange cannot come from {from} to {to} by steps of {by}");
    }
    let count = match (start, end, step) {
        (Number::Int(from), Number::Int(to), Number::Int(by)) => {
            (i128::from(to) - i128::from(from))
                .unsigned_abs()
                .div_ceil(i128::from(by).unsigned_abs()) as f64
        }
        // The difference of two finite floats may overflow.
        _ if (to - from).is_infinite() => (to / by - from / by).ceil(),
        _ => ((to - from) / by).ceil(),
    };
    dims::check_size(&[count as usize])?;
    let count = count as usize;
    let numbers = match (start, step) {
        (Number::Int(from), Number::Int(by)) if matches!(end, Number::Int(_)) => {
            // The product may overflow although the sum is in range; wrapping gives the right sum.
            elements::from_vec(
                (0..count as i64).map(|i| from.wrapping_add(i.wrapping_mul(by))).collect(),
                &[count],
                &Device::Cpu,
            )?
        }
        _ => {
            let floats = elements::from_vec(
                (0..count).map(|i| from + i as f64 * by).collect(),
                &[count],
                &Device::Cpu,
            )?;
            if kind.is_none() { floats.to_dtype(DType::F32)? } else { floats }
        }
    };
    let value = Value::Real(numbers);
    let kind = kind.unwrap_or(Kind::of(&value));
    Number::Float(from).check_holds(kind)?;
    Number::Float(from + count.saturating_sub(1) as f64 * by).check_holds(kind)?;
    dtype::cast(&value, kind)?.map(|t| t.to_device(device))
}

/// A vector of `steps` equally spaced numbers from `start` to `end`, both included, like
/// `torch.linspace`.
///
/// # Errors
/// `kind` cannot hold an end, or the result exceeds the memory limit.
pub fn linspace(start: f64, end: f64, steps: usize, kind: Kind, device: &Device) -> Result<Value> {
    dims::check_size(&[steps])?;
    for end in [start, end] {
        Number::Float(end).check_holds(kind)?;
    }
    let last = (steps.max(2) - 1) as f64;
    let step = (end - start) / last;
    let at = |i: usize| match i {
        // The difference of two finite floats may overflow.
        i if step.is_infinite() => start * (1.0 - i as f64 / last) + end * (i as f64 / last),
        // Like PyTorch, the second half counts from `end`, so that the last number is exactly
        // `end`.
        i if i < steps.div_ceil(2) => start + step * i as f64,
        i => end - step * (steps - 1 - i) as f64,
    };
    let numbers: Vec<f64> = (0..steps).map(at).collect();
    dtype::cast(&Value::Real(elements::from_vec(numbers, &[steps], &Device::Cpu)?), kind)?
        .map(|t| t.to_device(device))
}

/// A matrix `[rows, columns]` with ones on the diagonal and zeros elsewhere, like `torch.eye`.
///
/// # Errors
/// The result exceeds the memory limit.
pub fn eye(rows: usize, columns: usize, kind: Kind, device: &Device) -> Result<Value> {
    dims::check_size(&[rows, columns])?;
    let mut ones = vec![0u8; rows * columns];
    for i in 0..rows.min(columns) {
        ones[i * columns + i] = 1;
    }
    dtype::cast(&Value::Real(elements::from_vec(ones, &[rows, columns], device)?), kind)
}

/// The elements in row-major order, as numbers.
///
/// # Errors
/// The tensor is complex.
pub fn to_numbers(value: &Value) -> Result<Vec<Number>> {
    let tensor = value.real("this")?;
    let kind = Kind::of(value);
    Ok(match kind {
        Kind::Bool => {
            elements::to_vec::<u8>(tensor)?.into_iter().map(|b| Number::Bool(b != 0)).collect()
        }
        Kind::U8 | Kind::U32 | Kind::I64 => elements::to_vec::<i64>(&tensor.to_dtype(DType::I64)?)?
            .into_iter()
            .map(Number::Int)
            .collect(),
        _ => by_dtype!(tensor, T => Ok(elements::to_vec::<T>(tensor)?
            .into_iter()
            .map(|x| Number::Float(candle_core::WithDType::to_f64(x)))
            .collect()))?,
    })
}
