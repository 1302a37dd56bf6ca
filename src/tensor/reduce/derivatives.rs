//! The derivatives of reductions. Half precision is computed in float32.

use candle_core::{DType, Device, Tensor};

use super::along_dim;
use super::over::{Over, ReductionPlan};
use super::sums;
use crate::Result;
use crate::kernel::cpu::parallel;
use crate::tensor::elementwise::arithmetic::Arithmetic::{Div, Mul, Pow, Sub};
use crate::tensor::elementwise::comparison::Comparison;
use crate::tensor::elementwise::function::Function;
use crate::tensor::elementwise::piecewise::{self, PiecewiseLinear};
use crate::tensor::graph::Back;
use crate::tensor::index::masked::where_;
use crate::tensor::operand::Operand;
use crate::tensor::order::sort::order;
use crate::tensor::{Kind, Value, dtype, elements, graph, operand};

/// The value with half precision widened to float32.
pub(super) fn wide(value: &Value) -> Result<Value> {
    match Kind::of(value) {
        Kind::F16 | Kind::BF16 => dtype::cast(value, Kind::F32),
        _ => Ok(value.clone()),
    }
}

/// What `compute` gives for a value; for a tracked one with its derivative, which has the plan of
/// the reduction.
///
/// # Errors
/// Those of `compute`, or `over` does not fit the shape.
pub(super) fn reduction(
    value: &Value,
    over: Over,
    compute: impl FnOnce(&Value) -> Result<Value>,
    derivative: impl Fn(&Back, &ReductionPlan) -> Result<Value> + Send + Sync + 'static,
) -> Result<Value> {
    if !value.is_tracked() {
        return compute(value);
    }
    let plan = over.plan(value.dims())?;
    graph::operation(
        &[value],
        |inputs| compute(inputs[0]),
        move |back| back.of_one(|| derivative(back, &plan)),
    )
}

/// What a reduction gave, as the dims of size 1 that were reduced, spread over the shape `dims`.
pub(super) fn spread(reduced: &Value, plan: &ReductionPlan, dims: &[usize]) -> Result<Value> {
    let kept: Vec<usize> =
        (0..dims.len()).map(|i| if plan.dims.contains(&i) { 1 } else { dims[i] }).collect();
    reduced.map(|t| t.reshape(kept.as_slice())?.broadcast_as(dims))
}

/// The argument, what the reduction gave and its gradient, the last two spread over the argument.
fn spread_all(back: &Back, plan: &ReductionPlan) -> Result<[Value; 3]> {
    let x = wide(&back.inputs[0])?;
    let over = |value: &Value| spread(&wide(value)?, plan, x.dims());
    let (y, gradient) = (over(&back.output)?, over(&back.gradient)?);
    Ok([x, y, gradient])
}

/// Of the variance or, if `rooted`, the standard deviation: 0 where that is 0.
pub(super) fn spread_of_values(
    back: &Back,
    plan: &ReductionPlan,
    divisor: f64,
    rooted: bool,
) -> Result<Value> {
    let [x, y, gradient] = spread_all(back, plan)?;
    let dims: Vec<i64> = plan.dims.iter().map(|&dim| dim as i64).collect();
    let mean = sums::mean(&x, Over { dims: Some(&dims), keepdim: true })?;
    let away = Div.apply(&Sub.apply(&x, &mean)?, divisor)?;
    if !rooted {
        return Mul.apply(&Mul.apply(&gradient, 2.0)?, &away);
    }
    let still = Comparison::Eq.apply(&y, 0.0)?;
    let share = where_(&still, Operand::from(0.0), (&Div.apply(&gradient, &y)?).into())?;
    Mul.apply(&share, &away)
}

/// Of the p-norm: 0 at 0.
pub(super) fn norm(back: &Back, plan: &ReductionPlan, p: f64) -> Result<Value> {
    let [x, y, gradient] = spread_all(back, plan)?;
    if p == 0.0 {
        return x.map(Tensor::zeros_like);
    }
    if p == 1.0 {
        return Mul.apply(&gradient, &PiecewiseLinear::Sign.apply(&x)?);
    }
    let zero = |of: &Value, value: &Value| {
        where_(&Comparison::Eq.apply(of, 0.0)?, Operand::from(0.0), value.into())
    };
    if p == 2.0 {
        return zero(&y, &Mul.apply(&gradient, &Div.apply(&x, &y)?)?);
    }
    let sign = PiecewiseLinear::Sign.apply(&x)?;
    let steep = Mul.apply(&sign, &Pow.apply(&piecewise::abs(&x)?, p - 1.0)?)?;
    let steep = if p < 2.0 { zero(&x, &steep)? } else { steep };
    let share = Mul.apply(&gradient, &Pow.apply(&y, 1.0 - p)?)?;
    Mul.apply(&steep, &zero(&y, &share)?)
}

/// Of log Σ e^x: the softmax. It is 0 where all are -inf.
pub(super) fn logsumexp(back: &Back, plan: &ReductionPlan) -> Result<Value> {
    let [x, y, gradient] = spread_all(back, plan)?;
    let none = Comparison::Eq.apply(&y, f64::NEG_INFINITY)?;
    let share = Function::Exp.apply(&Sub.apply(&x, &y)?)?;
    Mul.apply(&gradient, &where_(&none, Operand::from(0.0), (&share).into())?)
}

/// Of the product: for each element the product of the others.
pub(super) fn prod(back: &Back, plan: &ReductionPlan) -> Result<Value> {
    by_lines(back, plan, 1, |line, _, gradient, out| {
        let mut before = gradient[0];
        for (out, x) in out.iter_mut().zip(line) {
            *out = before;
            before *= x;
        }
        let mut after = 1.0;
        for (out, x) in out.iter_mut().zip(line).rev() {
            *out *= after;
            after *= x;
        }
    })
}

/// Of an element that was chosen: those equal to it share the gradient, or the first has it.
pub(super) fn of_chosen(back: &Back, plan: &ReductionPlan, shared: bool) -> Result<Value> {
    by_lines(back, plan, 1, |line, chosen, gradient, out| {
        let is = |x: f64| x == chosen[0] || (x.is_nan() && chosen[0].is_nan());
        let count = if shared { line.iter().filter(|&&x| is(x)).count() } else { 1 };
        for (out, _) in out.iter_mut().zip(line).filter(|&(_, &x)| is(x)).take(count) {
            *out = gradient[0] / count as f64;
        }
    })
}

/// Of quantiles: the two elements that a quantile lies between have it by their shares.
pub(super) fn quantile(back: &Back, plan: &ReductionPlan, qs: &[f64]) -> Result<Value> {
    by_lines(back, plan, qs.len(), |line, _, gradient, out| {
        if line.iter().any(|x| x.is_nan()) {
            return;
        }
        let mut places: Vec<usize> = (0..line.len()).collect();
        places.sort_by(|&a, &b| order(line[a], line[b]));
        for (q, gradient) in qs.iter().zip(gradient) {
            let at = q * (line.len() - 1) as f64;
            let (below, share) = (at.floor() as usize, at.fract());
            out[places[below]] += gradient * (1.0 - share);
            if share > 0.0 {
                out[places[below + 1]] += gradient * share;
            }
        }
    })
}

/// The gradient line by line, in float64 on the CPU. `f` gets a line of the argument, the `width`
/// results for it, their gradients, and zeros to which it writes the gradient of the line. Several
/// results for a line lie along the first dim of the result.
fn by_lines(
    back: &Back,
    plan: &ReductionPlan,
    width: usize,
    f: impl Fn(&[f64], &[f64], &[f64], &mut [f64]) + Sync,
) -> Result<Value> {
    let input = &back.inputs[0];
    let x = input.real("this")?;
    if x.elem_count() == 0 {
        return Ok(input.clone());
    }
    let kept = (0..x.rank()).filter(|dim| !plan.dims.contains(dim));
    let turned: Vec<usize> = kept.chain(plan.dims.iter().copied()).collect();
    let numbers = |t: &Tensor| elements::to_vec::<f64>(&t.to_dtype(DType::F64)?);
    let turn = |t: &Tensor, order: &[usize]| -> Result<Tensor> {
        Ok(if order.is_empty() { t.clone() } else { t.permute(order)? })
    };
    let there = turn(x, &turned)?;
    let lines = numbers(&there)?;
    let (size, count) = (plan.count, lines.len() / plan.count.max(1));
    let results = numbers(back.output.real("this")?)?;
    let gradients = numbers(back.gradient.real("this")?)?;
    let mut out = vec![0.0; lines.len()];
    parallel::rows(&mut out, size, size, |row, out| {
        let of = |all: &[f64]| -> Vec<f64> { (0..width).map(|i| all[i * count + row]).collect() };
        f(&lines[row * size..][..size], &of(&results), &of(&gradients), out);
    });
    let mut back_again = vec![0; turned.len()];
    for (i, &dim) in turned.iter().enumerate() {
        back_again[dim] = i;
    }
    let out = elements::from_vec(out, there.dims(), &Device::Cpu)?;
    let out = turn(&out, &back_again)?.to_dtype(super::dispatch::floats(input, "this")?.dtype())?;
    operand::transfer(&Value::Real(out), input.device())
}

/// Of a softmax along `dim`, or of its logarithm.
pub(super) fn softmax(back: &Back, dim: i64, logarithmic: bool) -> Result<Value> {
    let (y, gradient) = (wide(&back.output)?, wide(&back.gradient)?);
    let (y, gradient, dim) = match y.rank() {
        0 => (y.map(|t| t.reshape(1))?, gradient.map(|t| t.reshape(1))?, 0),
        _ => (y.clone(), gradient, along_dim::dim(dim, y.dims())? as i64),
    };
    let sum = |of: &Value| sums::sum(of, Over { dims: Some(&[dim]), keepdim: true });
    let whole = match logarithmic {
        true => Sub.apply(&gradient, &Mul.apply(&Function::Exp.apply(&y)?, &sum(&gradient)?)?)?,
        false => {
            let weighed = Mul.apply(&gradient, &y)?;
            Sub.apply(&weighed, &Mul.apply(&y, &sum(&weighed)?)?)?
        }
    };
    whole.map(|t| t.reshape(back.output.dims()))
}
