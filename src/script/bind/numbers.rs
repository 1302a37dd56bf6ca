//! Numbers and labels of pictures and tables, read from a script's tensors and arrays.

use candle_core::{DType, Device};
use rhai::{Array, Dynamic};

use crate::output::picture;
use crate::script::value::Handle;
use crate::script::value::options::{describe, float};
use crate::tensor::Value;
use crate::{Result, bail, error};

/// The numbers in a tensor \[n\], or in an array of numbers and one-element tensors. `what` is the
/// subject of errors.
///
/// # Errors
/// Another value.
pub fn numbers(value: &Dynamic, what: &str) -> Result<Vec<f64>> {
    if let Some(handle) = value.read_lock::<Handle>() {
        let value = handle.value();
        if value.rank() != 1 {
            bail!("{what} must be [n], and it is {:?}", value.dims());
        }
        return floats(&value, what);
    }
    if let Some(list) = value.read_lock::<Array>() {
        let numbers: Option<Vec<f64>> = list.iter().map(number).collect();
        return numbers.ok_or_else(|| error!("{what} must hold numbers alone"));
    }
    bail!("{what} must be a tensor [n] or an array of numbers, not {}", describe(value))
}

/// All elements of a tensor, in row-major order.
///
/// # Errors
/// The tensor is complex, or can't be copied to the CPU.
pub fn floats(value: &Value, what: &str) -> Result<Vec<f64>> {
    let tensor = value.real(what)?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    Ok(tensor.flatten_all()?.to_vec1()?)
}

/// A number, or that in a tensor of one element.
pub fn number(value: &Dynamic) -> Option<f64> {
    let of_tensor = || {
        let numbers = floats(&value.read_lock::<Handle>()?.value(), "a number").ok()?;
        (numbers.len() == 1).then(|| numbers[0])
    };
    float(value).or_else(of_tensor)
}

/// Rows of numbers: a tensor \[n, m\], or an array of what [`numbers`] takes.
///
/// # Errors
/// Another value.
pub fn matrix(value: &Dynamic, what: &str) -> Result<Vec<Vec<f64>>> {
    if let Some(handle) = value.read_lock::<Handle>() {
        let value = handle.value();
        let [n, m] = *value.dims() else {
            bail!("{what} must be [n, m], and it is {:?}", value.dims())
        };
        let flat = floats(&value, what)?;
        return Ok((0..n).map(|row| flat[row * m..(row + 1) * m].to_vec()).collect());
    }
    match value.read_lock::<Array>() {
        Some(rows) => rows.iter().map(|row| numbers(row, what)).collect(),
        None => {
            bail!("{what} must be a tensor [n, m] or an array of rows, not {}", describe(value))
        }
    }
}

/// Labels: an array whose elements are shown as `print` shows them, or a tensor \[n\] of numbers.
///
/// # Errors
/// Another value.
pub fn labels(value: Option<&Dynamic>, what: &str) -> Result<Option<Vec<String>>> {
    let Some(value) = value else { return Ok(None) };
    if value.read_lock::<Handle>().is_some() {
        return Ok(Some(numbers(value, what)?.into_iter().map(picture::number).collect()));
    }
    let Some(list) = value.read_lock::<Array>() else {
        bail!("{what} must be an array of strings, not {}", describe(value))
    };
    Ok(Some(list.iter().map(|name| name.to_string()).collect()))
}
