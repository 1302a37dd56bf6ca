//! How many elements are not zero: `count_nonzero`, `any`, `all`.

use candle_core::{Device, Tensor};

use super::accumulator::{All, Any, Nonzero};
use super::by_candle;
use super::dispatch::{is_elsewhere, on_cpu};
use super::fold::fold;
use super::over::Over;
use crate::Result;
use crate::tensor::elements::by_dtype;
use crate::tensor::{Value, elements};

/// `torch.count_nonzero`: how many elements are not 0, i64. NaN is not 0.
///
/// # Errors
/// The tensor is complex, or `over` does not fit its shape.
pub fn count_nonzero(value: &Value, over: Over) -> Result<Value> {
    let (call, plan) = ("count_nonzero", over.plan(value.dims())?);
    let tensor = value.real(call)?;
    if is_elsewhere(value, &plan) {
        return Ok(Value::Real(
            by_candle::count_nonzero(tensor, &plan.dims)?.reshape(plan.shape.as_slice())?,
        ));
    }
    on_cpu(value, |value| {
        let tensor = value.real(call)?;
        let counts =
            by_dtype!(tensor, T => fold::<T, _, _>(tensor, &plan.dims, &Nonzero, |count| count))?;
        Ok(Value::Real(elements::from_vec(counts, &plan.shape, &Device::Cpu)?))
    })
}

/// `torch.any`: whether any element is not 0, bool.
///
/// # Errors
/// The tensor is complex, or `over` does not fit its shape.
pub fn any(value: &Value, over: Over) -> Result<Value> {
    truth(
        value,
        "any",
        over,
        |tensor, dims| by_dtype!(tensor, T => fold::<T, _, _>(tensor, dims, &Any, |any| any)),
    )
}

/// `torch.all`: whether no element is 0, bool.
///
/// # Errors
/// The tensor is complex, or `over` does not fit its shape.
pub fn all(value: &Value, over: Over) -> Result<Value> {
    truth(
        value,
        "all",
        over,
        |tensor, dims| by_dtype!(tensor, T => fold::<T, _, _>(tensor, dims, &All, |all| all)),
    )
}

/// [`any`] or [`all`], whichever `call` says; `fold` computes it on the CPU.
fn truth(
    value: &Value,
    call: &str,
    over: Over,
    fold: impl FnOnce(&Tensor, &[usize]) -> Result<Vec<bool>>,
) -> Result<Value> {
    let (tensor, plan) = (value.real(call)?, over.plan(value.dims())?);
    if is_elsewhere(value, &plan) {
        let count = by_candle::count_nonzero(tensor, &plan.dims)?.reshape(plan.shape.as_slice())?;
        let least = if call == "all" { plan.count as i64 } else { 1 };
        return Ok(Value::Bool(count.ge(least)?));
    }
    on_cpu(value, |value| {
        let truths = fold(value.real(call)?, &plan.dims)?.into_iter().map(u8::from);
        Ok(Value::Bool(elements::from_vec(truths.collect(), &plan.shape, &Device::Cpu)?))
    })
}
