//! One call of a hook.

use std::time::Instant;

use rhai::{Dynamic, Engine, EvalAltResult};

use super::bound::Hook;
use super::context::Context;
use crate::error;
use crate::hook::Site;
use crate::script::errors::error::ScriptResult;
use crate::script::value::Handle;
use crate::script::value::options::describe;
use crate::tensor::Value;

/// Calls a hook with `x`, which stands at `site`, and its context. Returns its replacement for `x`;
/// `None` if it changes nothing. `pass` is the number of the pass in which the call counts.
///
/// # Errors
/// The hook's own, or it returned no tensor of the shape of `x`.
pub fn invoke(
    hook: &Hook,
    engine: &Engine,
    context: &Context,
    site: Site,
    x: &Value,
    pass: u64,
) -> ScriptResult<Option<Value>> {
    // Each hook gets a handle of its own, so that a later hook's writes do not show in what an
    // earlier hook kept.
    let given = Handle::given(x.clone(), hook.0.clone());
    let began = Instant::now();
    let returned = hook.call(engine, &given, Dynamic::from(context.clone()));
    hook.tally().count(pass, began.elapsed());
    let left = returned.and_then(|returned| replacement(hook, site, &given, returned));
    given.release();
    Ok(match left? {
        Some(returned) => Some(returned),
        // A write into x in place counts like a returned tensor.
        None => Some(given.lend()).filter(|left| left.addresses() != x.addresses()),
    })
}

/// What a hook returned, if it is a tensor that can take the place of `x`.
fn replacement(
    hook: &Hook,
    site: Site,
    x: &Handle,
    returned: Dynamic,
) -> ScriptResult<Option<Value>> {
    if returned.is_unit() {
        return Ok(None);
    }
    let shape = x.value().dims().to_vec();
    let wrong = |came: String| {
        let name =
            if hook.0.targets.len() == 1 { hook.name() } else { site.point.name().to_owned() };
        let place =
            site.layer.map_or_else(|| name.clone(), |layer| format!("{name}, layer {layer},"));
        let error = error!(
            "the hook at {place} must return a tensor {shape:?} or nothing, and returned {came}"
        );
        let mut error: Box<EvalAltResult> = error.into();
        error.set_position(hook.0.position);
        error
    };
    let what = describe(&returned);
    let Some(handle) = returned.try_cast::<Handle>() else { return Err(wrong(what)) };
    let value = handle.lend();
    match &value {
        Value::Complex(_) => Err(wrong(format!("{what}: take .real first"))),
        Value::Real(t) | Value::Bool(t) if t.dims() != shape => Err(wrong(what)),
        _ => Ok(Some(value)),
    }
}
