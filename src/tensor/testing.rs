//! What the tests of functions of [`Value`] share.

use candle_core::{Device, Tensor};

use super::{Value, elements};
use crate::Result;

/// A tensor of float32.
pub fn value(numbers: &[f32], shape: &[usize]) -> Value {
    Value::Real(elements::from_vec(numbers.to_vec(), shape, &Device::Cpu).unwrap())
}

/// A list of ids.
pub fn ids(numbers: &[i64]) -> Value {
    Value::Real(Tensor::new(numbers, &Device::Cpu).unwrap())
}

/// The elements of a result.
pub fn flat(out: Result<Value>) -> Vec<f32> {
    elements::to_vec(out.unwrap().real("test").unwrap()).unwrap()
}

/// The sentence of an error.
pub fn message(result: Result<Value>) -> String {
    result.unwrap_err().message().to_owned()
}
