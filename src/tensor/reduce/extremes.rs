//! Largest and smallest elements and their positions: `max`, `min`, `argmax`, `argmin`.

use candle_core::Device;

use super::accumulator::{Bounded, Largest, Smallest};
use super::along_dim::Lines;
use super::dispatch::{is_elsewhere, on_cpu};
use super::fold::{BLOCK, Fold, fold};
use super::over::Over;
use super::{by_candle, derivatives};
use crate::kernel::cpu::parallel;
use crate::tensor::elements::{by_dtype, with_slice};
use crate::tensor::{Kind, Value, creation, elements};
use crate::{Result, error};

/// `torch.amax`: the largest element, or NaN if an element is NaN. The dtype is that of the tensor.
///
/// # Errors
/// There are no elements to reduce; the tensor is complex; `over` does not fit its shape.
pub fn max(value: &Value, over: Over) -> Result<Value> {
    extreme(value, over, true)
}

/// `torch.amin`: the smallest element, or NaN if an element is NaN. The dtype is that of the
/// tensor.
///
/// # Errors
/// As [`max`].
pub fn min(value: &Value, over: Over) -> Result<Value> {
    extreme(value, over, false)
}

/// [`max`] if `largest`, else [`min`].
///
/// # Errors
/// As [`max`].
pub(super) fn extreme(value: &Value, over: Over, largest: bool) -> Result<Value> {
    let call = if largest { "max" } else { "min" };
    let (tensor, plan) = (value.real(call)?, over.plan(value.dims())?);
    plan.needs_elements(call, value.dims())?;
    if plan.shape.contains(&0) {
        return creation::zeros(&plan.shape, Kind::of(value), value.device());
    }
    if value.is_tracked() {
        let compute = |value: &Value| extreme(value, over, largest);
        return derivatives::reduction(value, over, compute, |back, plan| {
            derivatives::of_chosen(back, plan, true)
        });
    }
    if !tensor.device().is_cpu() && Kind::of(value).is_float() {
        let kept = by_candle::extreme(tensor, &plan.dims, largest)?;
        return Ok(Value::Real(kept.reshape(plan.shape.as_slice())?));
    }
    on_cpu(value, |value| {
        let tensor = value.real(call)?;
        let out = by_dtype!(tensor, T => {
            let out = if largest { fold::<T, _, _>(tensor, &plan.dims, &Largest, |most| most) } else { fold::<T, _, _>(tensor, &plan.dims, &Smallest, |least| least) };
            elements::from_vec(out?, &plan.shape, &Device::Cpu)
        })?;
        value.map(|_| Ok(out.clone()))
    })
}

/// `torch.argmax`: the position of the largest element along a dim, i64. If several are the largest
/// it is the first, and the first NaN if there is one. Without a dim it is the offset among all
/// elements in row-major order.
///
/// # Errors
/// As [`max`], or `over` has several dims.
pub fn argmax(value: &Value, over: Over) -> Result<Value> {
    arg_extreme(value, over, "argmax")
}

/// `torch.argmin`: the position of the smallest element, otherwise as [`argmax`].
///
/// # Errors
/// As [`argmax`].
pub fn argmin(value: &Value, over: Over) -> Result<Value> {
    arg_extreme(value, over, "argmin")
}

/// [`argmax`] or [`argmin`], whichever `call` says.
fn arg_extreme(value: &Value, over: Over, call: &str) -> Result<Value> {
    value.real(call)?;
    if over.dims.is_some_and(|dims| dims.len() > 1) {
        return Err(error!(
            "{call} is over one dim or all of them, not over {:?}",
            over.dims.unwrap_or_default()
        )
        .help("flatten those dims into one first"));
    }
    let plan = over.plan(value.dims())?;
    plan.needs_elements(call, value.dims())?;
    if is_elsewhere(value, &plan) && Kind::of(value).is_float() {
        let tensor = value.real(call)?;
        let (tensor, dim) = match plan.dims.as_slice() {
            [dim] => (tensor.contiguous()?, *dim),
            _ => (tensor.flatten_all()?, 0),
        };
        let places = by_candle::first_place(&tensor, dim, call == "argmax")?;
        return Ok(Value::Real(places.reshape(plan.shape.as_slice())?));
    }
    on_cpu(value, |value| {
        let (tensor, lines) = plan.lines(value.real(call)?)?;
        let places = by_dtype!(tensor, T => Ok(with_slice(&tensor, |xs: &[T]| match call {
            "argmax" => first_places(xs, lines, &Largest, |x, best| x > best),
            _ => first_places(xs, lines, &Smallest, |x, best| x < best),
        })?))?;
        Ok(Value::Real(elements::from_vec(places, &plan.shape, &Device::Cpu)?))
    })
}

/// For each line, the first position of its extreme: of an element that no other one is `better`
/// than, or of a NaN. `extreme` is the fold that computes the extreme of a block. Lines are not
/// empty.
#[allow(clippy::eq_op)]
fn first_places<T: Bounded>(
    xs: &[T],
    Lines { outer, size, inner }: Lines,
    extreme: &impl Fold<T, Acc = T>,
    better: impl Fn(T, T) -> bool + Sync,
) -> Vec<i64> {
    let mut places = vec![0i64; outer * inner];
    if places.is_empty() {
        return places;
    }
    let replaces = |x: T, best: T| better(x, best) || (x != x && best == best);
    parallel::rows(&mut places, inner, size * inner, |row, places| {
        let xs = &xs[row * size * inner..][..size * inner];
        if inner == 1 {
            let mut best = xs[0];
            for (block, first) in xs.chunks(BLOCK).zip((0..).step_by(BLOCK)) {
                let most = extreme.block(block);
                if replaces(most, best) {
                    let place = block
                        .iter()
                        .position(|&x| x == most || (x != x && most != most))
                        .unwrap_or(0);
                    (places[0], best) = ((first + place) as i64, most);
                }
            }
            return;
        }
        let mut best = xs[..inner].to_vec();
        for (place, row) in (1i64..).zip(xs[inner..].chunks(inner)) {
            for ((at, best), &x) in places.iter_mut().zip(&mut best).zip(row) {
                if replaces(x, *best) {
                    (*at, *best) = (place, x);
                }
            }
        }
    });
    places
}
