//! How numbers are spread: `var`, `std`, `quantile`, `median`, `histogram`.

use candle_core::{DType, Device, Tensor, WithDType};

use super::accumulator::{Moment, Moments};
use super::along_dim::Lines;
use super::by_candle;
use super::reductions::{Over, Plan, floats, folded, on_cpu, reduce_float, rounded};
use crate::kernel::cpu::parallel;
use crate::system::message;
use crate::tensor::elementwise::loops;
use crate::tensor::elementwise::loops::by_dtype;
use crate::tensor::{Kind, Value, creation, dims};
use crate::{Result, bail, error};

/// The variance: Σ (x - mean)² / (count - correction), NaN where that divides by 0.
///
/// # Errors
/// Integers, bools and complex numbers.
pub fn var(value: &Value, correction: f64, over: Over) -> Result<Value> {
    spread(value, "var", correction, over, |x| x, Ok)
}

/// The standard deviation, the root of [`var`].
///
/// # Errors
/// Integers, bools and complex numbers.
pub fn std(value: &Value, correction: f64, over: Over) -> Result<Value> {
    spread(value, "std", correction, over, f64::sqrt, |t| t.sqrt())
}

fn spread(
    value: &Value,
    call: &str,
    correction: f64,
    over: Over,
    finish: impl Fn(f64) -> f64 + Sync,
    finish_there: impl Fn(Tensor) -> candle_core::Result<Tensor>,
) -> Result<Value> {
    let divisor = |plan: &Plan| (plan.count as f64 - correction).max(0.0);
    let count = over.plan(value.dims())?.count;
    if count as f64 <= correction && count > 0 {
        message::notice_once(format_args!(
            "warning: {call} of {count} with a correction of {correction} divides by 0, which gives nan or inf; \
             #{{correction: 0}} divides by the count"
        ));
    }
    let here = |t: &Tensor, plan: &Plan, dtype: DType| {
        folded(t, plan, dtype, &Moments, |moments: Moment| finish(moments.squares / divisor(plan)))
    };
    reduce_float(value, call, over, here, |t, plan| {
        finish_there(by_candle::variance(t, &plan.dims, divisor(plan))?)
    })
}

/// What a share `q` of the elements does not exceed, between two of them in proportion; NaN where
/// one is. Several `qs` come along a new first dim.
///
/// # Errors
/// A `q` outside 0 to 1; no elements; integers, bools and complex numbers.
pub fn quantile(value: &Value, qs: &[f64], stacked: bool, over: Over) -> Result<Value> {
    floats(value, "quantile")?;
    if let Some(q) = qs.iter().find(|q| !(0.0..=1.0).contains(*q)) {
        bail!("quantile: q must be from 0 to 1, not {q}");
    }
    let plan = over.plan(value.dims())?;
    plan.needs_elements("quantile", value.dims())?;
    on_cpu(value, |value| {
        let (tensor, lines) = plan.lines(&floats(value, "quantile")?)?;
        let found = match tensor.dtype() {
            DType::F64 => shares::<f64>(&tensor, lines, qs)?,
            _ => shares::<f32>(&tensor, lines, qs)?,
        };
        let places = lines.outer * lines.inner;
        let by_q = (0..qs.len()).flat_map(|i| (0..places).map(move |place| (i, place)));
        let found = by_q.map(|(i, place)| found[place * qs.len() + i]).collect();
        let leading = if stacked { vec![qs.len()] } else { vec![] };
        rounded(found, &[leading, plan.shape.clone()].concat(), Kind::of(value).storage())
    })
}

/// For each line what each share of its elements does not exceed.
fn shares<T: WithDType + Into<f64>>(tensor: &Tensor, lines: Lines, qs: &[f64]) -> Result<Vec<f64>> {
    lines.map(tensor, qs.len(), f64::NAN, |line: &[T], out: &mut [f64]| {
        let mut line: Vec<f64> = line.iter().map(|&x| x.into()).collect();
        if !line.iter().any(|x| x.is_nan()) {
            out.iter_mut().zip(qs).for_each(|(out, &q)| *out = between(&mut line, q));
        }
    })
}

fn between(row: &mut [f64], q: f64) -> f64 {
    let at = q * (row.len() - 1) as f64;
    let (_, &mut below, above) = row.select_nth_unstable_by(at.floor() as usize, f64::total_cmp);
    match at.fract() {
        0.0 => below,
        share => {
            let above = above.iter().copied().fold(f64::INFINITY, f64::min);
            if above == below { below } else { below + share * (above - below) }
        }
    }
}

/// The middle element, of an even number the lower of the two; NaN where one is.
///
/// # Errors
/// No elements, unless they are floats and all dims are meant; a complex tensor.
pub fn median(value: &Value, over: Over) -> Result<Value> {
    value.real("median")?;
    let plan = over.plan(value.dims())?;
    if value.numel() == 0 && over.dims.is_none() && Kind::of(value).is_float() {
        return on_cpu(value, |value| {
            rounded(vec![f64::NAN], &plan.shape, Kind::of(value).storage())
        });
    }
    plan.needs_elements("median", value.dims())?;
    on_cpu(value, |value| {
        let (tensor, lines) = plan.lines(value.real("median")?)?;
        let out = by_dtype!(tensor, T => {
            let zero = <T as WithDType>::from_f64(0.0);
            let found = lines.map(&tensor, 1, zero, |line: &[T], out: &mut [T]| out[0] = middle(line))?;
            loops::place(found, &plan.shape, &Device::Cpu)
        })?;
        value.map(|_| Ok(out.clone()))
    })
}

#[allow(clippy::eq_op)]
fn middle<T: WithDType>(row: &[T]) -> T {
    if let Some(&nan) = row.iter().find(|&&x| x != x) {
        return nan;
    }
    let mut row = row.to_vec();
    let middle = (row.len() - 1) / 2;
    *row.select_nth_unstable_by(middle, |a, b| {
        a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal)
    })
    .1
}

/// How many elements lie in each of `bins` equal intervals from `min` to `max` (or what the
/// elements have), the last of which contains its end, and the ends of the intervals. Elements
/// beyond are not counted.
///
/// # Errors
/// No bins; ends that are not finite, that the dtype can't hold, or the wrong way round; NaN where
/// no end is given; a complex tensor.
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
    let elements = loops::host::<f64>(&tensor.to_dtype(DType::F64)?)?;
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
        // Of a large number a half is less than a rounding error.
        let around = (lo.abs() * bins as f64 * epsilon(kind)).clamp(0.5, f64::MAX / 4.0);
        let within = |x: f64| x.clamp(-f64::MAX, f64::MAX);
        (lo, hi) = (within(lo - around), within(hi + around));
    }
    let edges = creation::linspace(lo, hi, bins + 1, kind, value.device())
        .map_err(|error| error.at("histogram"))?;
    let ends = loops::host::<f64>(&edges.real("histogram")?.to_dtype(DType::F64)?)?;
    // Where the distance between the ends is larger than any float, so is that of an element.
    let unit = if (hi - lo).is_finite() { 1.0 } else { 0.25 };
    let count = |elements: &[f64]| {
        let mut counts = vec![0i64; bins];
        for x in elements.iter().filter(|x| (ends[0]..=ends[bins]).contains(x)) {
            // The division may round to a neighbour: the ends decide.
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
    Ok((Value::Real(loops::place(counts, &[bins], value.device())?), edges))
}

/// The distance from 1 to the next number.
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
        Ok((loops::host(counts.real("test")?)?, loops::host(edges.real("test")?)?))
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
        let over = Over::default();
        assert_eq!(
            quantile(&value(&[1.0]), &[0.5, 1.5], true, over).unwrap_err().message(),
            "quantile: q must be from 0 to 1, not 1.5"
        );
        assert!(
            median(&Value::Real(Tensor::zeros((2, 0), DType::I64, &Device::Cpu).unwrap()), over)
                .is_err()
        );
    }

    #[test]
    fn several_shares_come_first() {
        let x =
            Value::Real(Tensor::new(&[[0f32, 10.], [1., 30.], [2., 20.]], &Device::Cpu).unwrap());
        let out =
            quantile(&x, &[0.0, 0.75], true, Over { dims: Some(&[0]), keepdim: true }).unwrap();
        assert_eq!(out.dims(), [2, 1, 2]);
        assert_eq!(loops::host::<f32>(out.real("test").unwrap()).unwrap(), [0.0, 10.0, 1.5, 25.0]);
    }
}
