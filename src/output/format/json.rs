//! Values as JSON, and numbers that JSON has no literal for.

use candle_core::{DType, Device, Tensor};
use serde_json::Value as Json;

use crate::Result;
use crate::tensor::Value;

/// A JSON number, or one of the strings "NaN", "Infinity" and "-Infinity".
pub fn number(x: f64) -> Json {
    serde_json::Number::from_f64(x).map_or_else(
        || {
            let name = if x.is_nan() {
                "NaN"
            } else if x > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            };
            Json::String(name.into())
        },
        Json::Number,
    )
}

/// A tensor as nested arrays, `[2, 3]` as two arrays of three; a complex number as `{"re": …, "im":
/// …}`.
///
/// # Errors
/// Candle's, if elements can't be copied to the CPU.
pub fn of_tensor(value: &Value) -> Result<Json> {
    let flat: Vec<Json> = match value {
        Value::Bool(t) => bytes_of(t)?.into_iter().map(|b| Json::Bool(b != 0)).collect(),
        Value::Complex(c) => {
            let (re, im) = (floats_of(&c.re)?, floats_of(&c.im)?);
            let complex = |(re, im)| serde_json::json!({"re": number(re), "im": number(im)});
            re.into_iter().zip(im).map(complex).collect()
        }
        Value::Real(t) if t.dtype().is_int() => t
            .to_device(&Device::Cpu)?
            .to_dtype(DType::I64)?
            .flatten_all()?
            .to_vec1::<i64>()?
            .into_iter()
            .map(Json::from)
            .collect(),
        // The shortest decimal that reads back as the same f32 is shorter than that of its f64
        // value: 0.1 and not 0.10000000149011612.
        Value::Real(t) if t.dtype() == DType::F32 => {
            let floats = t.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
            floats.into_iter().map(|x| x.to_string().parse().map_or(Json::Null, number)).collect()
        }
        Value::Real(t) => floats_of(t)?.into_iter().map(number).collect(),
    };
    fn fold(dims: &[usize], flat: &mut impl Iterator<Item = Json>) -> Json {
        match dims {
            [] => flat.next().unwrap_or(Json::Null),
            [n, rest @ ..] => Json::Array((0..*n).map(|_| fold(rest, flat)).collect()),
        }
    }
    Ok(fold(value.dims(), &mut flat.into_iter()))
}

fn bytes_of(t: &Tensor) -> Result<Vec<u8>> {
    Ok(t.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
}

fn floats_of(t: &Tensor) -> Result<Vec<f64>> {
    Ok(t.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}
