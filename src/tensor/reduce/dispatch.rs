//! Runs a reduction on the device of its tensor: by a fold on the CPU, by candle's kernels
//! elsewhere.

use candle_core::{DType, Device, Tensor};

use super::fold::{Fold, fold};
use super::over::{Over, ReductionPlan};
use crate::kernel::half_precision;
use crate::tensor::elementwise::loops;
use crate::tensor::{Kind, Value, elements, operand};
use crate::{Result, error};

/// Runs an operation on the CPU and moves its result to the device of `value`: for operations that
/// candle's kernels cannot express.
///
/// # Errors
/// Those of `run`, or a copy fails.
pub(crate) fn on_cpu(value: &Value, run: impl FnOnce(&Value) -> Result<Value>) -> Result<Value> {
    operand::transfer(&run(&operand::transfer(value, &Device::Cpu)?)?, value.device())
}

/// Whether the value is on another device than the CPU and neither it nor the result is empty.
pub(crate) fn is_elsewhere(value: &Value, plan: &ReductionPlan) -> bool {
    !value.device().is_cpu() && plan.count > 0 && !plan.shape.contains(&0)
}

/// The tensor of a float value, half precision widened to f32. `call` names the operation in the
/// error.
///
/// # Errors
/// The dtype is not a float one.
pub(crate) fn floats(value: &Value, call: &str) -> Result<Tensor> {
    let tensor = value.real(call)?;
    let kind = Kind::of(value);
    if !kind.is_float() {
        return Err(error!("{call} needs a float tensor, not {}", kind.name())
            .help("convert it first, with .to(\"f32\")"));
    }
    Ok(half_precision::widen(tensor)?)
}

/// A CPU tensor of shape `shape` and the float dtype `dtype` from numbers computed in f64.
///
/// # Errors
/// The number of elements does not match the shape.
pub(crate) fn rounded(numbers: Vec<f64>, shape: &[usize], dtype: DType) -> Result<Value> {
    if dtype == DType::F32 {
        let numbers = loops::mapped(&numbers, |&x| x as f32);
        return Ok(Value::Real(elements::from_vec(numbers, shape, &Device::Cpu)?));
    }
    Ok(Value::Real(elements::from_vec(numbers, shape, &Device::Cpu)?.to_dtype(dtype)?))
}

/// Folds a CPU tensor of f32 or f64 over `dims` with `f`, and applies `finish` to each accumulator.
/// The results are in row-major order of the dims that remain.
///
/// # Errors
/// The tensor is not on the CPU or of another dtype.
pub(crate) fn fold_float<A, F, U: Copy + Send>(
    tensor: &Tensor,
    dims: &[usize],
    f: &F,
    finish: impl Fn(A) -> U + Sync,
) -> Result<Vec<U>>
where
    F: Fold<f32, Acc = A> + Fold<f64, Acc = A>,
{
    match tensor.dtype() {
        DType::F64 => fold::<f64, F, U>(tensor, dims, f, finish),
        _ => fold::<f32, F, U>(tensor, dims, f, finish),
    }
}

/// [`fold_float`] as a CPU tensor of the plan's shape and the float dtype `dtype`.
///
/// # Errors
/// As [`fold_float`].
pub(crate) fn folded<A, F>(
    tensor: &Tensor,
    plan: &ReductionPlan,
    dtype: DType,
    f: &F,
    finish: impl Fn(A) -> f64 + Sync,
) -> Result<Value>
where
    F: Fold<f32, Acc = A> + Fold<f64, Acc = A>,
{
    if dtype == DType::F32 {
        let numbers = fold_float(tensor, &plan.dims, f, |acc| finish(acc) as f32)?;
        return Ok(Value::Real(elements::from_vec(numbers, &plan.shape, &Device::Cpu)?));
    }
    rounded(fold_float(tensor, &plan.dims, f, finish)?, &plan.shape, dtype)
}

/// A reduction of floats whose result has the dtype of `value`.
///
/// `cpu` computes it on the CPU. `gpu` composes it from candle's kernels on another device, for
/// tensors with elements, and keeps the reduced dims as dims of size 1. Both get the tensor of
/// [`floats`].
///
/// # Errors
/// The dtype is not a float one, `over` does not fit the shape, or those of `cpu` and `gpu`.
pub(crate) fn reduce_float(
    value: &Value,
    call: &str,
    over: Over,
    cpu: impl FnOnce(&Tensor, &ReductionPlan, DType) -> Result<Value>,
    gpu: impl FnOnce(&Tensor, &ReductionPlan) -> candle_core::Result<Tensor>,
) -> Result<Value> {
    let (tensor, plan) = (floats(value, call)?, over.plan(value.dims())?);
    let dtype = Kind::of(value).storage();
    if tensor.device().is_cpu() {
        return cpu(&tensor, &plan, dtype);
    }
    if plan.count == 0 || plan.shape.contains(&0) {
        let empty = tensor.to_device(&Device::Cpu)?;
        return operand::transfer(&cpu(&empty, &plan, dtype)?, value.device());
    }
    Ok(Value::Real(gpu(&tensor, &plan)?.reshape(plan.shape.as_slice())?.to_dtype(dtype)?))
}
