//! Tensors and assertions for the tests of linear algebra.

use candle_core::Device;

use crate::tensor::{Kind, Number, Value, creation, dtype, elements};

/// A reproducible tensor with elements in [-1, 1].
pub fn noise(dims: &[usize], kind: Kind) -> Value {
    let count = dims.iter().product::<usize>();
    let elements: Vec<f64> =
        (0..count).map(|i| ((i * i * 31 + i * 17 + 5) % 97) as f64 / 48.0 - 1.0).collect();
    let value = Value::Real(elements::from_vec(elements, dims, &Device::Cpu).unwrap());
    dtype::cast(&value, kind).unwrap()
}

/// A tensor of small integers: 0, 1, …, 10, 0, 1, ….
pub fn iota(dims: &[usize], kind: Kind) -> Value {
    let numbers: Vec<Number> =
        (0..dims.iter().product::<usize>() as i64).map(|i| Number::Int(i % 11)).collect();
    creation::from_numbers(&numbers, dims, Some(kind), &Device::Cpu).unwrap()
}

/// The elements in row-major order, as f64.
pub fn numbers(value: &Value) -> Vec<f64> {
    creation::to_numbers(value).unwrap().into_iter().map(Number::to_f64).collect()
}

/// Asserts equal shapes and dtypes, and elements equal up to rounding.
pub fn assert_close(a: &Value, b: &Value, what: &str) {
    assert_eq!((a.dims(), Kind::of(a)), (b.dims(), Kind::of(b)), "{what}");
    let tolerance = if Kind::of(a) == Kind::F64 { 1e-12 } else { 1e-5 };
    let largest = numbers(b).into_iter().fold(1.0, |largest: f64, x| largest.max(x.abs()));
    for (x, y) in numbers(a).into_iter().zip(numbers(b)) {
        assert!((x - y).abs() < tolerance * largest, "{what}: {x} and {y}");
    }
}

/// The last two dims swapped.
pub fn transposed(value: &Value) -> Value {
    value.map(|t| t.t()).unwrap()
}
