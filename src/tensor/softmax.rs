//! Along one dim, in the tensor's own shape: `softmax`, `log_softmax`, `cumsum`.

use candle_core::{DType, Tensor};

use super::fold::{Fold, Largest};
use super::reduce::{floats, on_cpu};
use super::rows::{Float, along};
use super::{Kind, Value, dims, on_device};
use crate::Result;

/// e^x / Σ e^x along `dim`.
///
/// # Errors
/// Integers, bools and complex numbers.
pub fn softmax(value: &Value, dim: i64) -> Result<Value> {
    normalise(value, dim, "softmax", softmax_row, softmax_row, on_device::softmax)
}

/// log of [`softmax`], which loses nothing where that is near 0.
///
/// # Errors
/// Integers, bools and complex numbers.
pub fn log_softmax(value: &Value, dim: i64) -> Result<Value> {
    normalise(value, dim, "log_softmax", log_softmax_row, log_softmax_row, on_device::log_softmax)
}

fn normalise(
    value: &Value,
    dim: i64,
    call: &str,
    single: impl Fn(&[f32], &mut [f32]) + Sync,
    double: impl Fn(&[f64], &mut [f64]) + Sync,
    there: impl Fn(&Tensor, usize) -> candle_core::Result<Tensor>,
) -> Result<Value> {
    let (tensor, dim) = (floats(value, call)?, dims::dim(dim, value.dims())?);
    if value.numel() == 0 {
        return Ok(value.clone());
    }
    let out = match tensor.dtype() {
        _ if !tensor.device().is_cpu() => there(&tensor, dim)?,
        DType::F64 => along(&tensor, dim, double)?,
        _ => along(&tensor, dim, single)?,
    };
    Ok(Value::Real(out.to_dtype(Kind::of(value).storage())?))
}

fn softmax_row<T: Float>(row: &[T], out: &mut [T]) {
    let most = Largest.block(row);
    for (out, &x) in out.iter_mut().zip(row) {
        *out = (x - most).exp();
    }
    let scale = T::round(T::sum(out).recip());
    for out in out {
        *out *= scale;
    }
}

fn log_softmax_row<T: Float>(row: &[T], out: &mut [T]) {
    let most: f64 = Largest.block(row).into();
    let all = if most.is_infinite() { f64::NAN } else { T::logsumexp(row) };
    for (out, &x) in out.iter_mut().zip(row) {
        *out = T::round(x.into() - all);
    }
}

/// The sum of each element and those before it along `dim`; of bools and integers i64, wrapping.
///
/// # Errors
/// A complex tensor.
pub fn cumsum(value: &Value, dim: i64) -> Result<Value> {
    value.real("cumsum")?;
    let dim = dims::dim(dim, value.dims())?;
    on_cpu(value, |value| {
        let kind = Kind::of(value);
        if kind.is_exact() {
            let whole = value.real("cumsum")?.to_dtype(DType::I64)?;
            let sums =
                along(&whole, dim, |row: &[i64], out: &mut [i64]| running(row, out, 0, i64::wrapping_add, |x| x))?;
            return Ok(Value::Real(sums));
        }
        let tensor = floats(value, "cumsum")?;
        let sums = match kind {
            Kind::F64 => along(&tensor, dim, running_floats::<f64>)?,
            _ => along(&tensor, dim, running_floats::<f32>)?,
        };
        Ok(Value::Real(sums.to_dtype(kind.storage())?))
    })
}

fn running_floats<T: Float>(row: &[T], out: &mut [T]) {
    running(row, out, 0.0, |sum, x| sum + x.into(), T::round);
}

fn running<T: Copy, A: Copy>(row: &[T], out: &mut [T], zero: A, add: impl Fn(A, T) -> A, round: impl Fn(A) -> T) {
    let mut sum = zero;
    for (out, &x) in out.iter_mut().zip(row) {
        sum = add(sum, x);
        *out = round(sum);
    }
}
