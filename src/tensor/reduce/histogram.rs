//! `histogram`: how many elements lie in each of several equal intervals.

use candle_core::DType;

use crate::kernel::cpu::parallel;
use crate::tensor::{Kind, Value, creation, dims, elements};
use crate::{Result, bail, error};

/// `numpy.histogram`: the number of elements in each of `bins` equal intervals from `min` to `max`,
/// i64 `[bins]`, and the `bins + 1` edges of the intervals, in the tensor's dtype or f32 for
/// integers.
///
/// Each interval contains its lower edge, and the last one also its upper edge. Elements outside
/// are not counted. Without `min` or `max` the smallest or largest element is taken.
///
/// # Errors
/// `bins` is below 1; `min` or `max` is not finite, out of range for the dtype, or they are in the
/// wrong order; both are absent and an element is NaN; the tensor is complex.
pub fn histogram(
    value: &Value,
    bins: i64,
    min: Option<f64>,
    max: Option<f64>,
) -> Result<(Value, Value)> {
    let tensor = value.real("histogram")?;
    let bins = match usize::try_from(bins) {
        Ok(bins @ 1..) => bins,
        _ => bail!("histogram needs at least 1 bin, not {bins}"),
    };
    dims::check_size(&[bins])?;
    let elements = elements::to_vec::<f64>(&tensor.to_dtype(DType::F64)?)?;
    let kind = Kind::of(value).to_float();
    if min.is_none() && max.is_none() && elements.iter().any(|x| x.is_nan()) {
        return Err(error!("histogram: the tensor {:?} has elements that are nan", value.dims())
            .help(
                "give the ends, with #{min, max}, to count the others, or take x[x.isfinite()]",
            ));
    }
    let pieces: Vec<&[f64]> =
        elements.chunks(elements.len().div_ceil(parallel::threads()).max(1)).collect();
    let end = |first: f64, nearer: fn(f64, f64) -> f64| {
        let part = |i: usize| pieces[i].iter().copied().fold(first, nearer);
        parallel::map(pieces.len(), part).into_iter().fold(first, nearer)
    };
    let (mut lo, mut hi) = if elements.is_empty() {
        (min.unwrap_or(0.0), max.unwrap_or(1.0))
    } else {
        (
            min.unwrap_or_else(|| end(f64::INFINITY, f64::min)),
            max.unwrap_or_else(|| end(f64::NEG_INFINITY, f64::max)),
        )
    };
    if !(lo.is_finite() && hi.is_finite()) {
        return Err(error!("histogram cannot divide {lo} to {hi} into bins")
            .help("give finite ends, with #{min, max}"));
    }
    if lo > hi {
        bail!("histogram: min {lo} is above max {hi}");
    }
    if lo == hi {
        // Adding 0.5 to a large number may not change it, so the range grows with the number.
        let around = (lo.abs() * bins as f64 * epsilon(kind)).clamp(0.5, f64::MAX / 4.0);
        let within = |x: f64| x.clamp(-f64::MAX, f64::MAX);
        (lo, hi) = (within(lo - around), within(hi + around));
    }
    let edges = creation::linspace(lo, hi, bins + 1, kind, value.device())
        .map_err(|error| error.at("histogram"))?;
    let ends = elements::to_vec::<f64>(&edges.real("histogram")?.to_dtype(DType::F64)?)?;
    // `hi - lo` may overflow, and `x - lo` with it; a quarter of each does not.
    let unit = if (hi - lo).is_finite() { 1.0 } else { 0.25 };
    let count = |elements: &[f64]| {
        let mut counts = vec![0i64; bins];
        for x in elements.iter().filter(|x| (ends[0]..=ends[bins]).contains(x)) {
            // The division may round into a neighbouring interval; the edges decide.
            let share = (x * unit - lo * unit) / (hi * unit - lo * unit);
            let near = ((share * bins as f64) as usize).min(bins - 1);
            let near = near - usize::from(*x < ends[near]);
            let near = near + usize::from(near + 1 < bins && *x >= ends[near + 1]);
            counts[near] += 1;
        }
        counts
    };
    let add = |mut sums: Vec<i64>, counts: Vec<i64>| {
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        sums
    };
    let counts =
        parallel::map(pieces.len(), |i| count(pieces[i])).into_iter().fold(vec![0; bins], add);
    Ok((Value::Real(elements::from_vec(counts, &[bins], value.device())?), edges))
}

/// The distance from 1 to the next larger number of a float dtype.
fn epsilon(kind: Kind) -> f64 {
    match kind {
        Kind::F64 => f64::EPSILON,
        Kind::F16 => half::f16::EPSILON.to_f64(),
        Kind::BF16 => half::bf16::EPSILON.to_f64(),
        _ => f32::EPSILON.into(),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    fn value(numbers: &[f32]) -> Value {
        Value::Real(Tensor::new(numbers, &Device::Cpu).unwrap())
    }

    fn counts(
        numbers: &[f32],
        bins: i64,
        min: Option<f64>,
        max: Option<f64>,
    ) -> Result<(Vec<i64>, Vec<f32>)> {
        let (counts, edges) = histogram(&value(numbers), bins, min, max)?;
        Ok((elements::to_vec(counts.real("test")?)?, elements::to_vec(edges.real("test")?)?))
    }

    #[test]
    fn each_bin_holds_its_lower_end_and_the_last_one_both() {
        let tenths: Vec<f32> = (0..=10).map(|i| i as f32 / 10.0).collect();
        assert_eq!(
            counts(&tenths, 10, Some(0.0), Some(1.0)).unwrap().0,
            [1, 1, 1, 1, 1, 1, 1, 1, 1, 2]
        );
        assert_eq!(
            counts(&[1.0, 2.0, 9.0, f32::NAN], 2, None, Some(3.0)).unwrap(),
            (vec![1, 1], vec![1.0, 2.0, 3.0])
        );
        assert_eq!(counts(&[4.0, 4.0], 2, None, None).unwrap(), (vec![0, 2], vec![3.5, 4.0, 4.5]));
        assert_eq!(counts(&[], 2, None, None).unwrap(), (vec![0, 0], vec![0.0, 0.5, 1.0]));
    }

    #[test]
    fn what_cannot_be_counted_is_one_sentence() {
        let message = |result: Result<_>| {
            result.map(|_: (Vec<i64>, Vec<f32>)| ()).unwrap_err().message().to_owned()
        };
        assert_eq!(message(counts(&[1.0], 0, None, None)), "histogram needs at least 1 bin, not 0");
        assert_eq!(
            message(counts(&[1.0], 2, Some(2.0), Some(1.0))),
            "histogram: min 2 is above max 1"
        );
        assert_eq!(
            message(counts(&[f32::INFINITY], 2, Some(0.0), None)),
            "histogram cannot divide 0 to inf into bins"
        );
    }
}
