//! Draws among what there is: `randperm`, `multinomial`.

use candle_core::{DType, Device};
use rand::Rng;
use rand::seq::SliceRandom;

use super::elementwise::loops;
use super::{Kind, Value, dims, dtype};
use crate::{Result, bail, error};

/// The numbers from 0 to `n`, without it, in random order.
///
/// # Errors
/// A dtype that does not hold them.
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
    dtype::cast(&Value::Real(loops::place(numbers, &[n], &Device::Cpu)?), kind)?
        .map(|t| t.to_device(device))
}

/// `count` places drawn from each row of weights, `[n]` or `[m, n]`, each as likely as its share of
/// the row: i64, `[count]` or `[m, count]`. Without `replacement` no place comes twice.
///
/// # Errors
/// Weights below 0, nan or inf, a row of zeros, more draws than there are weights above 0;
/// integers, bools and complex numbers; other than one or two dims.
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
    let elements = loops::host::<f64>(&weights.real("multinomial")?.to_dtype(DType::F64)?)?;
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
    Ok(Value::Real(loops::place(drawn, &dims, &Device::Cpu)?.to_device(weights.device())?))
}

fn with_replacement(row: &[f64], draws: usize, rng: &mut impl Rng) -> Vec<i64> {
    // Shares of the largest: their sum is finite.
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
        // Rounding may lead to the very end, beyond which nothing weighs.
        if place < row.len() {
            place
        } else {
            row.iter().rposition(|weight| *weight > 0.0).unwrap_or(0)
        }
    };
    (0..draws).map(|_| draw(rng) as i64).collect()
}

/// The places with the smallest of exponential waiting times, whose rates are the weights.
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
