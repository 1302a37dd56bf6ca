//! Random tensors: `rand`, `randn`, `randperm`, `multinomial`, as in PyTorch. All are drawn on the
//! CPU in f64, so that a seed gives the same numbers on every device.

use candle_core::{DType, Device};
use rand::Rng;
use rand::seq::SliceRandom;

use super::{Kind, Value, dims, dtype, elements};
use crate::{Result, bail, error};

/// A tensor of shape `dims` of uniform random numbers in [0, 1).
///
/// # Errors
/// `kind` is not a float dtype.
pub fn rand(dims: &[usize], kind: Kind, device: &Device, rng: &mut impl Rng) -> Result<Value> {
    // No more bits than the significand of the dtype has, so that no number is rounded up to 1.
    let bits = match random_float("rand", kind)? {
        DType::BF16 => 8,
        DType::F16 => 11,
        DType::F32 => 24,
        _ => 53,
    };
    let numbers = (0..dims.iter().product())
        .map(|_| (rng.random::<u64>() >> (64 - bits)) as f64 / (1u64 << bits) as f64);
    dtype::cast(&Value::Real(elements::from_vec(numbers.collect(), dims, &Device::Cpu)?), kind)?
        .map(|t| t.to_device(device))
}

/// A tensor of shape `dims` of random numbers from the standard normal distribution.
///
/// # Errors
/// `kind` is not a float dtype.
pub fn randn(dims: &[usize], kind: Kind, device: &Device, rng: &mut impl Rng) -> Result<Value> {
    random_float("randn", kind)?;
    let numel: usize = dims.iter().product();
    // The Box–Muller transform: two uniform numbers give two normal ones.
    let mut numbers: Vec<f64> = Vec::with_capacity(numel + 1);
    while numbers.len() < numel {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
        numbers.extend([radius * cos, radius * sin]);
    }
    numbers.truncate(numel);
    dtype::cast(&Value::Real(elements::from_vec(numbers, dims, &Device::Cpu)?), kind)?
        .map(|t| t.to_device(device))
}

fn random_float(call: &str, kind: Kind) -> Result<DType> {
    if kind.is_float() {
        return Ok(kind.storage());
    }
    Err(error!("{call} gives floats, not {}", kind.name())
        .help("draw f32 and convert, as in (rand(3) * 10.0).to(\"i64\")"))
}

/// The integers from 0 to `n - 1` in random order, as a vector.
///
/// # Errors
/// `kind` cannot represent all of them exactly, or the result exceeds the memory limit.
pub fn randperm(n: usize, kind: Kind, device: &Device, rng: &mut impl Rng) -> Result<Value> {
    dims::check_size(&[n])?;
    let most = match kind {
        Kind::Bool => 2,
        Kind::U8 => 1 << 8,
        Kind::BF16 => (1 << 8) + 1,
        Kind::F16 => (1 << 11) + 1,
        Kind::F32 => (1 << 24) + 1,
        Kind::C64 | Kind::C128 => 0,
        _ => u32::MAX as usize,
    };
    if n > most {
        bail!("randperm: {} does not hold the numbers below {n}", kind.name());
    }
    let mut numbers: Vec<i64> = (0..n as i64).collect();
    numbers.shuffle(rng);
    dtype::cast(&Value::Real(elements::from_vec(numbers, &[n], &Device::Cpu)?), kind)?
        .map(|t| t.to_device(device))
}

/// Draws `count` column indices from each row of `weights`, with probabilities proportional to the
/// weights. Weights of shape `[n]` give i64 indices `[count]`, weights `[m, n]` give `[m, count]`.
/// Without `replacement` a row's indices are distinct.
///
/// # Errors
/// `weights` is not a float tensor of one or two dims; a weight is negative or not finite; a row
/// has no positive weight, or fewer of them than are drawn without replacement.
pub fn multinomial(
    weights: &Value,
    count: i64,
    replacement: bool,
    rng: &mut impl Rng,
) -> Result<Value> {
    let (&[.., n], 1 | 2) = (weights.dims(), weights.rank()) else {
        bail!("multinomial needs weights [n] or [m, n], not a tensor {:?}", weights.dims());
    };
    if !Kind::of(weights).is_float() {
        return Err(error!("multinomial needs float weights, not {}", weights.dtype_name())
            .help("convert them first, with .to(\"f32\")"));
    }
    let draws = match usize::try_from(count) {
        Ok(draws @ 1..) => draws,
        _ => bail!("multinomial draws at least once, not {count} times"),
    };
    let rows = if weights.rank() == 2 { weights.dims()[0] } else { 1 };
    dims::check_size(&[rows, draws])?;
    let elements = elements::to_vec::<f64>(&weights.real("multinomial")?.to_dtype(DType::F64)?)?;
    if let Some(weight) = elements.iter().find(|weight| !weight.is_finite() || **weight < 0.0) {
        bail!("multinomial: weights are 0 or more and finite, and one is {weight}");
    }
    let mut drawn = Vec::with_capacity(rows * draws);
    for row in (0..rows).map(|row| &elements[row * n..][..n]) {
        let possible = row.iter().filter(|weight| **weight > 0.0).count();
        if possible == 0 {
            bail!("multinomial: a row of weights has none above 0");
        }
        if !replacement && draws > possible {
            return Err(error!(
                "multinomial: {draws} draws without replacement, and a row has {possible} weights above 0"
            )
            .help("#{replacement: true} lets a place be drawn again"));
        }
        drawn.extend(if replacement {
            with_replacement(row, draws, rng)
        } else {
            without(row, draws, rng)
        });
    }
    let dims = [&weights.dims()[..weights.rank() - 1], &[draws]].concat();
    Ok(Value::Real(elements::from_vec(drawn, &dims, &Device::Cpu)?.to_device(weights.device())?))
}

fn with_replacement(row: &[f64], draws: usize, rng: &mut impl Rng) -> Vec<i64> {
    // Relative to the largest weight, so that the sum does not overflow.
    let most = row.iter().copied().fold(0.0, f64::max);
    let ends: Vec<f64> = row
        .iter()
        .scan(0.0, |sum, weight| {
            *sum += weight / most;
            Some(*sum)
        })
        .collect();
    let total = ends.last().copied().unwrap_or(0.0);
    let draw = |rng: &mut _| {
        let at = Rng::random::<f64>(rng) * total;
        let place = ends.partition_point(|end| *end <= at);
        // Rounding may give `at == total`, which lies past the last positive weight.
        if place < row.len() {
            place
        } else {
            row.iter().rposition(|weight| *weight > 0.0).unwrap_or(0)
        }
    };
    (0..draws).map(|_| draw(rng) as i64).collect()
}

/// Draws by the smallest of exponential waiting times whose rates are the weights (Efraimidis and
/// Spirakis 2006, "Weighted random sampling with a reservoir"). One random number is drawn for
/// every weight, zeros included.
fn without(row: &[f64], draws: usize, rng: &mut impl Rng) -> Vec<i64> {
    let most = row.iter().copied().fold(0.0, f64::max);
    let mut waits: Vec<(f64, i64)> = Vec::with_capacity(row.len());
    for (place, weight) in row.iter().enumerate() {
        let wait = -(1.0 - rng.random::<f64>()).ln() / (weight / most);
        if *weight > 0.0 {
            waits.push((wait, place as i64));
        }
    }
    waits.sort_by(|a, b| a.0.total_cmp(&b.0));
    waits.into_iter().take(draws).map(|(_, place)| place).collect()
}
