//! `var`, `std`, `quantile` and `median`.

use candle_core::{DType, Device, Tensor, WithDType};

use super::accumulator::{Moment, Moments};
use super::along_dim::Lines;
use super::dispatch::{floats, folded, on_cpu, reduce_float, rounded};
use super::over::{Over, ReductionPlan};
use super::{by_candle, derivatives};
use crate::system::message;
use crate::tensor::elements::by_dtype;
use crate::tensor::{Kind, Value, elements};
use crate::{Result, bail};

/// `torch.var`: Σ (x - mean)² / (count - correction), in the dtype of the tensor. A correction of 1
/// gives the sample variance, 0 that of the population. If the divisor is 0, a warning is printed
/// and the result is NaN or infinite.
///
/// # Errors
/// The dtype is not a float one, or `over` does not fit the shape.
pub fn var(value: &Value, correction: f64, over: Over) -> Result<Value> {
    spread(value, "var", correction, over, |x| x, Ok, false)
}

/// `torch.std`: the standard deviation, the square root of [`var`].
///
/// # Errors
/// As [`var`].
pub fn std(value: &Value, correction: f64, over: Over) -> Result<Value> {
    spread(value, "std", correction, over, f64::sqrt, |t| t.sqrt(), true)
}

/// [`var`], to which `finish` (on the CPU) or `finish_gpu` (elsewhere) is applied: the square root,
/// if it is `rooted`.
fn spread(
    value: &Value,
    call: &str,
    correction: f64,
    over: Over,
    finish: impl Fn(f64) -> f64 + Sync,
    finish_gpu: impl Fn(Tensor) -> candle_core::Result<Tensor>,
    rooted: bool,
) -> Result<Value> {
    let divisor = move |plan: &ReductionPlan| (plan.count as f64 - correction).max(0.0);
    let count = over.plan(value.dims())?.count;
    if count as f64 <= correction && count > 0 {
        message::notice_once(format_args!(
            "warning: {call} of {count} with a correction of {correction} divides by 0, which gives nan or inf; \
             #{{correction: 0}} divides by the count"
        ));
    }
    let cpu = |t: &Tensor, plan: &ReductionPlan, dtype: DType| {
        folded(t, plan, dtype, &Moments, |moments: Moment| finish(moments.squares / divisor(plan)))
    };
    let compute = |value: &Value| {
        reduce_float(value, call, over, cpu, |t, plan| {
            finish_gpu(by_candle::variance(t, &plan.dims, divisor(plan))?)
        })
    };
    derivatives::reduction(value, over, compute, move |back, plan| {
        derivatives::spread_of_values(back, plan, divisor(plan), rooted)
    })
}

/// `torch.quantile` with linear interpolation, in the dtype of the tensor; NaN if an element is
/// NaN. If `stacked`, the results for `qs` lie along a new first dim, else `qs` has one element.
///
/// # Errors
/// A `q` is not in [0, 1]; there are no elements to reduce; the dtype is not a float one; `over`
/// does not fit the shape.
pub fn quantile(value: &Value, qs: &[f64], stacked: bool, over: Over) -> Result<Value> {
    floats(value, "quantile")?;
    if let Some(q) = qs.iter().find(|q| !(0.0..=1.0).contains(*q)) {
        bail!("quantile: q must be from 0 to 1, not {q}");
    }
    let plan = over.plan(value.dims())?;
    plan.needs_elements("quantile", value.dims())?;
    let (compute, own) = (|value: &Value| quantiles(value, qs, stacked, &plan), qs.to_vec());
    derivatives::reduction(value, over, compute, move |back, plan| {
        derivatives::quantile(back, plan, &own)
    })
}

fn quantiles(value: &Value, qs: &[f64], stacked: bool, plan: &ReductionPlan) -> Result<Value> {
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

/// For each line its `qs` quantiles, one line after the other.
fn shares<T: WithDType + Into<f64>>(tensor: &Tensor, lines: Lines, qs: &[f64]) -> Result<Vec<f64>> {
    lines.map(tensor, qs.len(), f64::NAN, |line: &[T], out: &mut [f64]| {
        let mut line: Vec<f64> = line.iter().map(|&x| x.into()).collect();
        if !line.iter().any(|x| x.is_nan()) {
            out.iter_mut().zip(qs).for_each(|(out, &q)| *out = between(&mut line, q));
        }
    })
}

/// The `q`-quantile of the elements of `row`, which are reordered.
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

/// `torch.median`: the middle element, the lower of two; NaN if an element is NaN. The dtype is
/// that of the tensor. The median over all dims of an empty float tensor is NaN.
///
/// # Errors
/// There are no elements to reduce; the tensor is complex; `over` does not fit its shape.
pub fn median(value: &Value, over: Over) -> Result<Value> {
    value.real("median")?;
    let plan = over.plan(value.dims())?;
    if value.numel() == 0 && over.dims.is_none() && Kind::of(value).is_float() {
        return on_cpu(value, |value| {
            rounded(vec![f64::NAN], &plan.shape, Kind::of(value).storage())
        });
    }
    plan.needs_elements("median", value.dims())?;
    // As in PyTorch: over all dims equal elements share the gradient, over those named the first
    // of them has it.
    let (compute, shared) = (|value: &Value| middles(value, &plan), over.dims.is_none());
    derivatives::reduction(value, over, compute, move |back, plan| {
        derivatives::of_chosen(back, plan, shared)
    })
}

fn middles(value: &Value, plan: &ReductionPlan) -> Result<Value> {
    on_cpu(value, |value| {
        let (tensor, lines) = plan.lines(value.real("median")?)?;
        let out = by_dtype!(tensor, T => {
            let zero = <T as WithDType>::from_f64(0.0);
            let found = lines.map(&tensor, 1, zero, |line: &[T], out: &mut [T]| out[0] = middle(line))?;
            elements::from_vec(found, &plan.shape, &Device::Cpu)
        })?;
        value.map(|_| Ok(out.clone()))
    })
}

/// The median of the elements of `row`, or its first NaN.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn value(numbers: &[f32]) -> Value {
        Value::Real(Tensor::new(numbers, &Device::Cpu).unwrap())
    }

    #[test]
    fn what_has_no_quantile_is_one_sentence() {
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
        assert_eq!(
            elements::to_vec::<f32>(out.real("test").unwrap()).unwrap(),
            [0.0, 10.0, 1.5, 25.0]
        );
    }
}
