//! Many elements to one, over any dims: `sum`, `mean`, `max`, `prod`, `norm`, `any`,
//! `count_nonzero`, `logsumexp`, ….

use candle_core::{DType, Device, Tensor};

use super::accumulator::{
    All, Any, Bounded, Largest, LogSumExp, Nonzero, Product, Smallest, Squares, Sum, SumOf,
};
use super::along_dim::Lines;
use super::by_candle;
use super::fold::{self, BLOCK, Fold, fold};
use crate::kernel::cpu::parallel;
use crate::tensor::elementwise::arithmetic::empty;
use crate::tensor::elementwise::loops;
use crate::tensor::elementwise::loops::by_dtype;
use crate::tensor::transfer::half_precision;
use crate::tensor::{Complex, Kind, Value, dims, dtype, operand};
use crate::{Result, bail, error};

/// What is reduced: the dims named (all, if none are), which stay as dims of size 1 with `keepdim`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Over<'a> {
    pub dims: Option<&'a [i64]>,
    pub keepdim: bool,
}

/// [`Over`] for one shape.
pub(crate) struct Plan {
    pub dims: Vec<usize>,
    /// Of the result.
    pub shape: Vec<usize>,
    /// How many elements become one.
    pub count: usize,
}

impl Over<'_> {
    pub(crate) fn plan(&self, shape: &[usize]) -> Result<Plan> {
        let mut reduced = match self.dims {
            None | Some([]) => (0..shape.len()).collect(),
            Some(&[0 | -1]) if shape.is_empty() => vec![],
            Some(named) => dims::distinct(named, shape)?,
        };
        reduced.sort_unstable();
        let kept = |i: &usize| !reduced.contains(i);
        let out = (0..shape.len())
            .filter(|i| self.keepdim || kept(i))
            .map(|i| if kept(&i) { shape[i] } else { 1 });
        let (out, count) = (out.collect(), reduced.iter().map(|&i| shape[i]).product());
        Ok(Plan { dims: reduced, shape: out, count })
    }
}

impl Plan {
    /// # Errors
    /// Nothing to reduce, where the result has elements.
    pub fn needs_elements(&self, call: &str, shape: &[usize]) -> Result<()> {
        if self.count == 0 && !self.shape.contains(&0) {
            bail!(
                "{call} of no elements is undefined, and dims {:?} of a tensor {shape:?} have none",
                self.dims
            );
        }
        Ok(())
    }

    /// A CPU tensor as lines, each of the elements that become one: copied only where other dims
    /// lie between those.
    pub fn lines(&self, tensor: &Tensor) -> Result<(Tensor, Lines)> {
        let shape = tensor.dims();
        let (first, end) =
            (self.dims.first().copied().unwrap_or(0), self.dims.last().map_or(0, |last| last + 1));
        let size = |shape: &[usize]| shape.iter().product::<usize>();
        if size(&shape[first..end]) == self.count {
            let lines = Lines {
                outer: size(&shape[..first]),
                size: self.count,
                inner: size(&shape[end..]),
            };
            return Ok((tensor.clone(), lines));
        }
        let kept = (0..tensor.rank()).filter(|i| !self.dims.contains(i));
        let order: Vec<usize> = kept.chain(self.dims.iter().copied()).collect();
        Ok((tensor.permute(order)?, Lines { outer: size(&self.shape), size: self.count, inner: 1 }))
    }
}

/// `run` of the value on the CPU, its result back where the value was: for what has no kernel
/// elsewhere.
pub(crate) fn on_cpu(value: &Value, run: impl FnOnce(&Value) -> Result<Value>) -> Result<Value> {
    operand::transfer(&run(&operand::transfer(value, &Device::Cpu)?)?, value.device())
}

/// Whether there is something to reduce, and it is on another device than the CPU.
fn is_elsewhere(value: &Value, plan: &Plan) -> bool {
    !value.device().is_cpu() && plan.count > 0 && !plan.shape.contains(&0)
}

/// A real float value's tensor, half precision widened to f32.
///
/// # Errors
/// Integers, bools and complex numbers; `call` names the operation.
pub(crate) fn floats(value: &Value, call: &str) -> Result<Tensor> {
    let tensor = value.real(call)?;
    let kind = Kind::of(value);
    if !kind.is_float() {
        return Err(error!("{call} needs a float tensor, not {}", kind.name())
            .help("convert it first, with .to(\"f32\")"));
    }
    half_precision::widen(tensor)
}

/// Numbers worked out in f64 as a CPU tensor of `dtype`.
pub(crate) fn rounded(numbers: Vec<f64>, shape: &[usize], dtype: DType) -> Result<Value> {
    if dtype == DType::F32 {
        let numbers = loops::mapped(&numbers, |&x| x as f32);
        return Ok(Value::Real(loops::place(numbers, shape, &Device::Cpu)?));
    }
    Ok(Value::Real(loops::place(numbers, shape, &Device::Cpu)?.to_dtype(dtype)?))
}

/// `f` over the elements of a CPU tensor of f32 or f64, each accumulator as `finish` makes it.
pub(crate) fn fold_float<A, F, U: Copy + Send>(
    tensor: &Tensor,
    dims: &[usize],
    f: &F,
    finish: impl Fn(A) -> U + Sync,
) -> Result<Vec<U>>
where
    F: fold::Fold<f32, Acc = A> + fold::Fold<f64, Acc = A>,
{
    match tensor.dtype() {
        DType::F64 => fold::<f64, F, U>(tensor, dims, f, finish),
        _ => fold::<f32, F, U>(tensor, dims, f, finish),
    }
}

/// The same as a tensor of the shape that the plan says, of `dtype`.
pub(crate) fn folded<A, F>(
    tensor: &Tensor,
    plan: &Plan,
    dtype: DType,
    f: &F,
    finish: impl Fn(A) -> f64 + Sync,
) -> Result<Value>
where
    F: fold::Fold<f32, Acc = A> + fold::Fold<f64, Acc = A>,
{
    if dtype == DType::F32 {
        let numbers = fold_float(tensor, &plan.dims, f, |acc| finish(acc) as f32)?;
        return Ok(Value::Real(loops::place(numbers, &plan.shape, &Device::Cpu)?));
    }
    rounded(fold_float(tensor, &plan.dims, f, finish)?, &plan.shape, dtype)
}

/// A reduction of floats in the dtype of `value`: `here` folds on the CPU, `there` is made of the
/// device's own kernels and keeps the dims reduced.
pub(crate) fn reduce_float(
    value: &Value,
    call: &str,
    over: Over,
    here: impl FnOnce(&Tensor, &Plan, DType) -> Result<Value>,
    there: impl FnOnce(&Tensor, &Plan) -> candle_core::Result<Tensor>,
) -> Result<Value> {
    let (tensor, plan) = (floats(value, call)?, over.plan(value.dims())?);
    let dtype = Kind::of(value).storage();
    if tensor.device().is_cpu() {
        return here(&tensor, &plan, dtype);
    }
    if plan.count == 0 || plan.shape.contains(&0) {
        let cpu = tensor.to_device(&Device::Cpu)?;
        return operand::transfer(&here(&cpu, &plan, dtype)?, value.device());
    }
    Ok(Value::Real(there(&tensor, &plan)?.reshape(plan.shape.as_slice())?.to_dtype(dtype)?))
}

/// The sum; of bools and integers i64, wrapping.
pub fn sum(value: &Value, over: Over) -> Result<Value> {
    match value {
        Value::Complex(c) => parts(c, |part| sum(part, over)),
        _ if Kind::of(value).is_exact() => exact(value, "sum", over, &Sum),
        _ => reduce_float(
            value,
            "sum",
            over,
            |t, p, dtype| folded(t, p, dtype, &Sum, |sum| sum),
            |t, p| t.sum_keepdim(p.dims.as_slice()),
        ),
    }
}

/// The mean; of no elements NaN.
///
/// # Errors
/// Integers and bools.
pub fn mean(value: &Value, over: Over) -> Result<Value> {
    if let Value::Complex(c) = value {
        return parts(c, |part| mean(part, over));
    }
    let here = |t: &Tensor, p: &Plan, dtype: DType| {
        folded(t, p, dtype, &Sum, |sum: f64| sum / p.count as f64)
    };
    reduce_float(value, "mean", over, here, |t, p| t.mean_keepdim(p.dims.as_slice()))
}

/// The product; of bools and integers i64, wrapping.
///
/// # Errors
/// A complex tensor.
pub fn prod(value: &Value, over: Over) -> Result<Value> {
    if Kind::of(value).is_exact() {
        return exact(value, "prod", over, &Product);
    }
    on_cpu(value, |value| {
        let (tensor, plan) = (floats(value, "prod")?, over.plan(value.dims())?);
        folded(&tensor, &plan, Kind::of(value).storage(), &Product, |product| product)
    })
}

/// How many elements are other than 0, in i64.
///
/// # Errors
/// A complex tensor.
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
        Ok(Value::Real(loops::place(counts, &plan.shape, &Device::Cpu)?))
    })
}

/// Whether an element is other than 0.
///
/// # Errors
/// A complex tensor.
pub fn any(value: &Value, over: Over) -> Result<Value> {
    truth(
        value,
        "any",
        over,
        |tensor, dims| by_dtype!(tensor, T => fold::<T, _, _>(tensor, dims, &Any, |any| any)),
    )
}

/// Whether every element is other than 0.
///
/// # Errors
/// A complex tensor.
pub fn all(value: &Value, over: Over) -> Result<Value> {
    truth(
        value,
        "all",
        over,
        |tensor, dims| by_dtype!(tensor, T => fold::<T, _, _>(tensor, dims, &All, |all| all)),
    )
}

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
        Ok(Value::Bool(loops::place(truths.collect(), &plan.shape, &Device::Cpu)?))
    })
}

/// The largest element, or NaN where one is.
///
/// # Errors
/// No elements, or a complex tensor.
pub fn max(value: &Value, over: Over) -> Result<Value> {
    extreme(value, over, true)
}

/// The smallest element, or NaN where one is.
///
/// # Errors
/// No elements, or a complex tensor.
pub fn min(value: &Value, over: Over) -> Result<Value> {
    extreme(value, over, false)
}

fn extreme(value: &Value, over: Over, largest: bool) -> Result<Value> {
    let call = if largest { "max" } else { "min" };
    let (tensor, plan) = (value.real(call)?, over.plan(value.dims())?);
    plan.needs_elements(call, value.dims())?;
    if plan.shape.contains(&0) {
        return empty(&plan.shape, Kind::of(value), value.device());
    }
    if !tensor.device().is_cpu() && Kind::of(value).is_float() {
        let kept = by_candle::extreme(tensor, &plan.dims, largest)?;
        return Ok(Value::Real(kept.reshape(plan.shape.as_slice())?));
    }
    on_cpu(value, |value| {
        let tensor = value.real(call)?;
        let out = by_dtype!(tensor, T => {
            let out = if largest { fold::<T, _, _>(tensor, &plan.dims, &Largest, |most| most) } else { fold::<T, _, _>(tensor, &plan.dims, &Smallest, |least| least) };
            loops::place(out?, &plan.shape, &Device::Cpu)
        })?;
        value.map(|_| Ok(out.clone()))
    })
}

/// Where the largest element is, in i64: the first of several, a NaN before any number. Over no dim
/// its place among all elements in row-major order.
///
/// # Errors
/// Several dims, no elements, or a complex tensor.
pub fn argmax(value: &Value, over: Over) -> Result<Value> {
    arg_extreme(value, over, "argmax")
}

/// Where the smallest element is, as [`argmax`].
pub fn argmin(value: &Value, over: Over) -> Result<Value> {
    arg_extreme(value, over, "argmin")
}

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
        let places = by_dtype!(tensor, T => fold::with_slice(&tensor, |xs: &[T]| match call {
            "argmax" => first_places(xs, lines, &Largest, |x, best| x > best),
            _ => first_places(xs, lines, &Smallest, |x, best| x < best),
        }))?;
        Ok(Value::Real(loops::place(places, &plan.shape, &Device::Cpu)?))
    })
}

/// The first place along each line whose element no other is `better` than; `extreme` finds such an
/// element.
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

/// The `p`-norm: (Σ |x|^p)^(1/p); with `p` infinite the largest or smallest |x|, with 0 how many
/// are not 0.
///
/// # Errors
/// Integers, bools and complex numbers.
pub fn norm(value: &Value, p: f64, over: Over) -> Result<Value> {
    if p.is_infinite() {
        return extreme(&Value::Real(floats(value, "norm")?.abs()?), over, p > 0.0)
            .and_then(|out| dtype::cast(&out, Kind::of(value)));
    }
    if p.is_nan() {
        bail!("norm needs a number for p, not NaN");
    }
    let here = |t: &Tensor, plan: &Plan, dtype: DType| match p {
        1.0 => folded(t, plan, dtype, &SumOf(f64::abs), |sum| sum),
        2.0 => folded(t, plan, dtype, &Squares, f64::sqrt),
        0.0 => folded(t, plan, dtype, &SumOf(|x: f64| f64::from(u8::from(x != 0.0))), |sum| sum),
        p => {
            folded(t, plan, dtype, &SumOf(|x: f64| x.abs().powf(p)), |sum: f64| sum.powf(p.recip()))
        }
    };
    reduce_float(value, "norm", over, here, |t, plan| by_candle::norm(t, &plan.dims, p))
}

/// log Σ e^x, without overflow.
///
/// # Errors
/// Integers, bools and complex numbers.
pub fn logsumexp(value: &Value, over: Over) -> Result<Value> {
    let here = |t: &Tensor, plan: &Plan, dtype: DType| {
        folded(t, plan, dtype, &LogSumExp, |(most, sum): (f64, f64)| most + sum.ln())
    };
    reduce_float(value, "logsumexp", over, here, |t, plan| by_candle::logsumexp(t, &plan.dims))
}

/// The same reduction of the real and the imaginary part.
fn parts(c: &Complex, reduce: impl Fn(&Value) -> Result<Value>) -> Result<Value> {
    let part = |t: &Tensor| {
        Ok::<_, crate::Error>(reduce(&Value::Real(t.clone()))?.real("reduce")?.clone())
    };
    Ok(Value::Complex(Complex { re: part(&c.re)?, im: part(&c.im)? }))
}

/// A fold of bools or integers to i64.
fn exact<F>(value: &Value, call: &str, over: Over, f: &F) -> Result<Value>
where
    F: fold::Fold<u8, Acc = i64> + fold::Fold<u32, Acc = i64> + fold::Fold<i64, Acc = i64>,
{
    let plan = over.plan(value.dims())?;
    on_cpu(value, |value| {
        let tensor = value.real(call)?;
        let out = match tensor.dtype() {
            DType::U8 => fold::<u8, F, _>(tensor, &plan.dims, f, |acc| acc)?,
            DType::U32 => fold::<u32, F, _>(tensor, &plan.dims, f, |acc| acc)?,
            _ => fold::<i64, F, _>(tensor, &plan.dims, f, |acc| acc)?,
        };
        Ok(Value::Real(loops::place(out, &plan.shape, &Device::Cpu)?))
    })
}

#[cfg(test)]
mod tests;
