//! `variable`, `gradient`, `detach` and `no_grad`.

use candle_core::{Tensor, Var};
use rhai::{Array, Dynamic, FnPtr, NativeCallContext};

use crate::kernel::differentiable::without_graph;
use crate::model::finite;
use crate::script::declare::{Gradient, OnGpu, Page, Purity, Registry};
use crate::script::errors::error::{ScriptResult, of_call};
use crate::script::hook::backward::{backward, differentiable, first_not_finite};
use crate::script::value::Handle;
use crate::script::value::handle::mask::Masks;
use crate::script::value::options::describe;
use crate::system::message::notice;
use crate::tensor::Value;
use crate::{Error, Result, error};

/// A variable with the numbers of a tensor.
///
/// # Errors
/// The tensor is not of real floats; out of memory.
fn variable(x: &Handle) -> Result<Handle> {
    let value = x.value();
    let tensor = value.real("variable")?;
    if !tensor.dtype().is_float() {
        return Err(error!(
            "a variable is a tensor of floats, and this one is {}",
            value.dtype_name()
        )
        .help("convert it first, as in variable(x.to(\"f32\"))"));
    }
    value.check_copy()?;
    Ok(Handle::lent(Var::from_tensor(&tensor.detach())?.as_tensor().clone()))
}

/// The candle variable of a handle, `which` of those that `call` is given.
///
/// # Errors
/// The tensor is no variable.
pub fn candle_variable(value: &Dynamic, call: &str) -> Result<Tensor> {
    let help = "let v = variable(tensor) makes one; what is computed from it is none";
    let Some(handle) = value.read_lock::<Handle>() else {
        return Err(error!("{call} takes variables, and not {}", describe(value)).help(help));
    };
    match &*handle.value() {
        Value::Real(tensor) if tensor.is_variable() => Ok(tensor.clone()),
        other => Err(error!(
            "{call} takes variables, and this tensor {:?} of {} is none",
            other.dims(),
            other.dtype_name()
        )
        .help(help)),
    }
}

/// The gradients of `loss` with regard to variables.
fn gradients(
    call: &NativeCallContext,
    loss: &Dynamic,
    variables: &[Dynamic],
) -> ScriptResult<Vec<Handle>> {
    let loss = differentiable(loss, "the loss")?;
    let variables =
        variables.iter().map(|of| candle_variable(of, "gradient")).collect::<Result<Vec<_>>>()?;
    if variables.is_empty() {
        return Err(error!("gradient got no variables")
            .help("as in gradient(loss, [v, w])")
            .into());
    }
    if loss.elem_count() != 1 {
        return Err(error!("a gradient is that of one number, and the loss is {:?}", loss.dims())
            .help("take its sum or its mean")
            .into());
    }
    let found = backward(call.engine(), &loss)?;
    let (mut gradients, mut wrong) = (Vec::new(), None);
    for (at, variable) in variables.iter().enumerate() {
        let which = match variables.len() {
            1 => format!("the variable {:?}", variable.dims()),
            _ => format!("variable {at}, {:?},", variable.dims()),
        };
        let Some(gradient) = found.get(variable) else {
            return Err(error!("the loss does not depend on {which}: nothing connects the two")
                .help("was it, or the loss, detached, or made under no_grad?")
                .into());
        };
        if let Some(kind) = finite::kind(gradient)? {
            wrong.get_or_insert_with(|| format!("{} has {kind}", which.trim_end_matches(',')));
        }
        gradients.push(Handle::fresh(Value::Real(gradient.clone())));
    }
    if let Some(wrong) = wrong {
        let place = first_not_finite(&loss);
        notice(format_args!("warning: the gradient of {wrong}{place}"));
    }
    Ok(gradients)
}

/// `x` outside of any graph.
fn detach(x: &Handle) -> Result<Handle> {
    let value = x.value();
    let detached = value.detach();
    drop(value);
    Masks::Follow.of(detached, x, |mask| Ok(mask.clone()))
}

/// Registers variables and their gradients.
pub fn install(registry: &mut Registry) {
    registry.section(Page::Experiments, "Gradients");
    registry
        .declare(
            "variable(x)",
            Purity::Impure("makes a variable"),
            OnGpu::NATIVE,
            Gradient::Outside,
        )
        .row(
            "a tensor of floats whose gradients are kept, with the numbers of x",
            "let v = variable(tensor([1.0, 2.0])); gradient((v * v).sum(), v)",
            "tensor [2] f32 cpu: [2.0, 4.0]",
        )
        .function(|x: &mut Handle| -> ScriptResult<Handle> { Ok(variable(x)?) });
    registry
        .declare(
            "gradient(loss, variables)",
            Purity::Impure("calls hooks"),
            OnGpu::NATIVE,
            Gradient::Outside,
        )
        .row(
            "of a loss, a tensor of one number: how it changes with a variable, in its shape; of \
            an array of variables an array. The loss may come from a pass in which the variable \
            took part",
            "let v = variable(zeros([m.config.hidden_size])); \
            let out = m.forward(ids, [hook(\"post-mlp\", |x, ctx| x + v, #{layers: 0})], \
            #{loss: true}); gradient(out.loss, v).abs().max().item() > 0.0",
            "true",
        )
        .function(|call: NativeCallContext, loss: Dynamic, of: Array| -> ScriptResult<Array> {
            Ok(gradients(&call, &loss, &of)?.into_iter().map(Dynamic::from).collect())
        })
        .function(|call: NativeCallContext, loss: Dynamic, of: Handle| -> ScriptResult<Handle> {
            let mut found = gradients(&call, &loss, &[Dynamic::from(of)])?;
            Ok(found.pop().ok_or_else(|| Error::new("no gradient"))?)
        });
    registry
        .declare("detach(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Outside)
        .row(
            "the same numbers as constants: no gradient goes through them. A hook |x, ctx| \
            x.detach() at attn-probs holds the pattern fixed, at the scales of norms the norms",
            "let v = variable(tensor([1.0, 2.0])); gradient((v * v.detach()).sum(), v)",
            "tensor [2] f32 cpu: [1.0, 2.0]",
        )
        .function(|x: &mut Handle| -> ScriptResult<Handle> { Ok(detach(x)?) });
    registry
        .declare(
            "no_grad(function)",
            Purity::Impure("calls a function"),
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "what a function of nothing gives, computed with variables as constants",
            "let v = variable(tensor([1.0, 2.0])); no_grad(|| v * 2.0)",
            "tensor [2] f32 cpu: [2.0, 4.0]",
        )
        .function(|call: NativeCallContext, function: FnPtr| -> ScriptResult<Dynamic> {
            without_graph(|| function.call_raw(&call, None, [])).map_err(|error| {
                of_call(error, &function, || {
                    error!("no_grad calls a function of no parameters")
                        .help("as in no_grad(|| x * 2.0)")
                })
            })
        });
}
