//! `sum`, `mean`, `prod`, `norm` and `logsumexp`.

use candle_core::{DType, Device, Tensor};

use super::accumulator::{LogSumExp, Product, Squares, Sum, SumOf};
use super::by_candle;
use super::derivatives::{self, reduction, spread, wide};
use super::dispatch::{floats, folded, on_cpu, reduce_float};
use super::extremes::extreme;
use super::fold::{Fold, fold};
use super::over::{Over, ReductionPlan};
use crate::tensor::elementwise::arithmetic::Arithmetic;
use crate::tensor::elementwise::piecewise;
use crate::tensor::{Complex, Kind, Value, elements};
use crate::{Result, bail};

/// `torch.sum`, in the dtype of the tensor; bools and integers give i64 and wrap. Half precision is
/// widened to f32 first.
///
/// # Errors
/// `over` does not fit the shape.
pub fn sum(value: &Value, over: Over) -> Result<Value> {
    if let Value::Complex(c) = value {
        return parts(c, |part| sum(part, over));
    }
    if Kind::of(value).is_exact() {
        return exact(value, "sum", over, &Sum);
    }
    let compute = |value: &Value| {
        reduce_float(
            value,
            "sum",
            over,
            |t, p, dtype| folded(t, p, dtype, &Sum, |sum| sum),
            |t, p| t.sum_keepdim(p.dims.as_slice()),
        )
    };
    reduction(value, over, compute, |back, plan| {
        spread(&back.gradient, plan, back.inputs[0].dims())
    })
}

/// `torch.mean`, in the dtype of the tensor; NaN if there are no elements.
///
/// # Errors
/// The tensor is bool or integer, or `over` does not fit its shape.
pub fn mean(value: &Value, over: Over) -> Result<Value> {
    if let Value::Complex(c) = value {
        return parts(c, |part| mean(part, over));
    }
    let cpu = |t: &Tensor, p: &ReductionPlan, dtype: DType| {
        folded(t, p, dtype, &Sum, |sum: f64| sum / p.count as f64)
    };
    let compute = |value: &Value| {
        reduce_float(value, "mean", over, cpu, |t, p| t.mean_keepdim(p.dims.as_slice()))
    };
    reduction(value, over, compute, |back, plan| {
        let share = Arithmetic::Div.apply(&wide(&back.gradient)?, plan.count as f64)?;
        spread(&share, plan, back.inputs[0].dims())
    })
}

/// `torch.prod`, in the dtype of the tensor; bools and integers give i64 and wrap.
///
/// # Errors
/// The tensor is complex, or `over` does not fit its shape.
pub fn prod(value: &Value, over: Over) -> Result<Value> {
    if Kind::of(value).is_exact() {
        return exact(value, "prod", over, &Product);
    }
    let compute = |value: &Value| {
        on_cpu(value, |value| {
            let (tensor, plan) = (floats(value, "prod")?, over.plan(value.dims())?);
            folded(&tensor, &plan, Kind::of(value).storage(), &Product, |product| product)
        })
    };
    reduction(value, over, compute, derivatives::prod)
}

/// `torch.linalg.vector_norm`: (Σ |x|^p)^(1/p). For an infinite `p` it is the largest or (negative)
/// the smallest |x|, for 0 the number of elements that are not 0.
///
/// # Errors
/// The dtype is not a float one; `over` does not fit the shape; `p` is NaN, or infinite and there
/// are no elements.
pub fn norm(value: &Value, p: f64, over: Over) -> Result<Value> {
    if p.is_infinite() {
        floats(value, "norm")?;
        return extreme(&piecewise::abs(value)?, over, p > 0.0);
    }
    if p.is_nan() {
        bail!("norm needs a number for p, not NaN");
    }
    let cpu = |t: &Tensor, plan: &ReductionPlan, dtype: DType| match p {
        1.0 => folded(t, plan, dtype, &SumOf(f64::abs), |sum| sum),
        2.0 => folded(t, plan, dtype, &Squares, f64::sqrt),
        0.0 => folded(t, plan, dtype, &SumOf(|x: f64| f64::from(u8::from(x != 0.0))), |sum| sum),
        p => {
            folded(t, plan, dtype, &SumOf(|x: f64| x.abs().powf(p)), |sum: f64| sum.powf(p.recip()))
        }
    };
    let compute = |value: &Value| {
        reduce_float(value, "norm", over, cpu, |t, plan| by_candle::norm(t, &plan.dims, p))
    };
    reduction(value, over, compute, move |back, plan| derivatives::norm(back, plan, p))
}

/// `torch.logsumexp`: log Σ e^x, computed without overflow; -inf if there are no elements.
///
/// # Errors
/// The dtype is not a float one, or `over` does not fit the shape.
pub fn logsumexp(value: &Value, over: Over) -> Result<Value> {
    let cpu = |t: &Tensor, plan: &ReductionPlan, dtype: DType| {
        folded(t, plan, dtype, &LogSumExp, |(most, sum): (f64, f64)| most + sum.ln())
    };
    let compute = |value: &Value| {
        reduce_float(value, "logsumexp", over, cpu, |t, plan| by_candle::logsumexp(t, &plan.dims))
    };
    reduction(value, over, compute, derivatives::logsumexp)
}

/// Applies `reduce` to the real and to the imaginary part.
fn parts(c: &Complex, reduce: impl Fn(&Value) -> Result<Value>) -> Result<Value> {
    let part = |t: &Tensor| {
        Ok::<_, crate::Error>(reduce(&Value::Real(t.clone()))?.real("reduce")?.clone())
    };
    Ok(Value::Complex(Complex { re: part(&c.re)?, im: part(&c.im)? }))
}

/// Folds a bool or integer value with `f`; the result is i64.
fn exact<F>(value: &Value, call: &str, over: Over, f: &F) -> Result<Value>
where
    F: Fold<u8, Acc = i64> + Fold<u32, Acc = i64> + Fold<i64, Acc = i64>,
{
    let plan = over.plan(value.dims())?;
    on_cpu(value, |value| {
        let tensor = value.real(call)?;
        let out = match tensor.dtype() {
            DType::U8 => fold::<u8, F, _>(tensor, &plan.dims, f, |acc| acc)?,
            DType::U32 => fold::<u32, F, _>(tensor, &plan.dims, f, |acc| acc)?,
            _ => fold::<i64, F, _>(tensor, &plan.dims, f, |acc| acc)?,
        };
        Ok(Value::Real(elements::from_vec(out, &plan.shape, &Device::Cpu)?))
    })
}
