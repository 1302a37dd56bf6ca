//! New tensors: from numbers, filled, ranged, random.

use candle_core::{DType, Device, Tensor};
use rand::Rng;

use super::elementwise::loops;
use super::elementwise::loops::by_dtype;
use super::operand::Number;
use super::{Kind, Value, dims, dtype};
use crate::{Result, bail, error};

/// Numbers in row-major order as a tensor of `dims`; without a `kind` floats give f32, integers
/// i64, bools bool, and no numbers at all f32.
///
/// # Errors
/// A number that an integer kind cannot hold.
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
        loops::place(whole.collect(), dims, &Device::Cpu)?
    } else {
        loops::place(numbers.iter().map(|n| n.to_f64()).collect(), dims, &Device::Cpu)?
    };
    dtype::cast(&Value::Real(tensor), kind)?.map(|t| t.to_device(device))
}

/// `dims` filled with one number.
///
/// # Errors
/// A number that an integer kind cannot hold.
pub fn full(dims: &[usize], number: Number, kind: Kind, device: &Device) -> Result<Value> {
    number.check_holds(kind)?;
    let one = number.value(kind, device)?;
    one.map(|t| t.broadcast_as(dims)?.contiguous())
}

/// Zeros.
pub fn zeros(dims: &[usize], kind: Kind, device: &Device) -> Result<Value> {
    let zeros = || Tensor::zeros(dims, kind.storage(), device);
    Ok(match kind {
        Kind::Bool => Value::Bool(zeros()?),
        Kind::C64 | Kind::C128 => Value::Complex(super::Complex { re: zeros()?, im: zeros()? }),
        _ => Value::Real(zeros()?),
    })
}

/// Ones.
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

/// `start`, `start + step`, … up to but without `end`. All integers give i64, else f32.
///
/// # Errors
/// A step of 0, or one that leads away from `end`; numbers that the kind cannot hold.
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
        // The distance may be larger than any float.
        _ if (to - from).is_infinite() => (to / by - from / by).ceil(),
        _ => ((to - from) / by).ceil(),
    };
    dims::check_size(&[count as usize])?;
    let count = count as usize;
    let numbers = match (start, step) {
        (Number::Int(from), Number::Int(by)) if matches!(end, Number::Int(_)) => {
            // A product may leave i64 where the sum comes back into it.
            loops::place(
                (0..count as i64).map(|i| from.wrapping_add(i.wrapping_mul(by))).collect(),
                &[count],
                &Device::Cpu,
            )?
        }
        _ => {
            let floats = loops::place(
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

/// `steps` numbers from `start` to `end`, both included, equally far apart.
///
/// # Errors
/// Ends that the kind cannot hold.
pub fn linspace(start: f64, end: f64, steps: usize, kind: Kind, device: &Device) -> Result<Value> {
    dims::check_size(&[steps])?;
    for end in [start, end] {
        Number::Float(end).check_holds(kind)?;
    }
    let last = (steps.max(2) - 1) as f64;
    let step = (end - start) / last;
    let at = |i: usize| match i {
        // The distance may be larger than any float.
        i if step.is_infinite() => start * (1.0 - i as f64 / last) + end * (i as f64 / last),
        // The second half counts from the end, so that the end is met exactly.
        i if i < steps.div_ceil(2) => start + step * i as f64,
        i => end - step * (steps - 1 - i) as f64,
    };
    let numbers: Vec<f64> = (0..steps).map(at).collect();
    dtype::cast(&Value::Real(loops::place(numbers, &[steps], &Device::Cpu)?), kind)?
        .map(|t| t.to_device(device))
}

/// Ones on the diagonal of `rows` by `columns` zeros.
pub fn eye(rows: usize, columns: usize, kind: Kind, device: &Device) -> Result<Value> {
    dims::check_size(&[rows, columns])?;
    let mut ones = vec![0u8; rows * columns];
    for i in 0..rows.min(columns) {
        ones[i * columns + i] = 1;
    }
    dtype::cast(&Value::Real(loops::place(ones, &[rows, columns], device)?), kind)
}

/// Uniform random numbers, at least 0 and less than 1.
///
/// # Errors
/// A kind that is no float.
pub fn rand(dims: &[usize], kind: Kind, device: &Device, rng: &mut impl Rng) -> Result<Value> {
    // As many bits as the dtype holds, so that none is rounded up to 1.
    let bits = match random_float("rand", kind)? {
        DType::BF16 => 8,
        DType::F16 => 11,
        DType::F32 => 24,
        _ => 53,
    };
    let numbers = (0..dims.iter().product())
        .map(|_| (rng.random::<u64>() >> (64 - bits)) as f64 / (1u64 << bits) as f64);
    dtype::cast(&Value::Real(loops::place(numbers.collect(), dims, &Device::Cpu)?), kind)?
        .map(|t| t.to_device(device))
}

/// Random numbers from the normal distribution of mean 0 and standard deviation 1.
///
/// # Errors
/// A kind that is no float.
pub fn randn(dims: &[usize], kind: Kind, device: &Device, rng: &mut impl Rng) -> Result<Value> {
    random_float("randn", kind)?;
    let numel: usize = dims.iter().product();
    // Box and Muller: two uniform numbers give two normal ones.
    let mut numbers: Vec<f64> = Vec::with_capacity(numel + 1);
    while numbers.len() < numel {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
        numbers.extend([radius * cos, radius * sin]);
    }
    numbers.truncate(numel);
    dtype::cast(&Value::Real(loops::place(numbers, dims, &Device::Cpu)?), kind)?
        .map(|t| t.to_device(device))
}

fn random_float(call: &str, kind: Kind) -> Result<DType> {
    if kind.is_float() {
        return Ok(kind.storage());
    }
    Err(error!("{call} gives floats, not {}", kind.name())
        .help("draw f32 and convert, as in (rand(3) * 10.0).to(\"i64\")"))
}

/// The elements in row-major order, as numbers.
///
/// # Errors
/// A complex tensor.
pub fn to_numbers(value: &Value) -> Result<Vec<Number>> {
    let tensor = value.real("this")?;
    let kind = Kind::of(value);
    Ok(match kind {
        Kind::Bool => {
            loops::host::<u8>(tensor)?.into_iter().map(|b| Number::Bool(b != 0)).collect()
        }
        Kind::U8 | Kind::U32 | Kind::I64 => loops::host::<i64>(&tensor.to_dtype(DType::I64)?)?
            .into_iter()
            .map(Number::Int)
            .collect(),
        _ => by_dtype!(tensor, T => Ok(loops::host::<T>(tensor)?
            .into_iter()
            .map(|x| Number::Float(candle_core::WithDType::to_f64(x)))
            .collect()))?,
    })
}
