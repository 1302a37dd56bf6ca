//! `hook(points, fn, options)`: checks the function and binds it.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use rhai::{Array, Engine, EvalAltResult, FnPtr, Map, NativeCallContext, ScriptFuncDef, Shared};

use super::bound::{Bound, Hook, Tally};
use super::effect;
use super::target::{HookOptions, Target, point_names};
use crate::error;
use crate::script::errors::error::ScriptResult;
use crate::script::fingerprint::purity::Purity;
use crate::script::fingerprint::reachable::BoundCode;
use crate::script::program::late_binding::{Live, Surroundings};
use crate::script::program::modules::Modules;
use crate::script::tensor;
use crate::script::value::model::Model;

fn bind(
    binder: &Binder,
    context: &NativeCallContext,
    names: Vec<String>,
    mut function: FnPtr,
    options: Map,
) -> ScriptResult<Hook> {
    let options = HookOptions::read(options)?;
    let targets = Target::of(&names, &options)?;
    let code = check(binder, context, &names.join(", "), &function)?;
    let shown = match function.is_anonymous() {
        true => format!("|{}| …", code.params[function.curry().len()..].join(", ")),
        false => function.fn_name().to_owned(),
    };
    unshare_models(&mut function);
    let natives = binder.purity.of(context.engine());
    Ok(Hook(Rc::new(Bound {
        names,
        targets,
        options,
        function,
        shown,
        position: context.call_position(),
        surroundings: Surroundings::of(context, &binder.live),
        code: BoundCode::new(&binder.modules, natives),
        tally: Tally::default(),
    })))
}

/// Checks that the function takes `(x, ctx)` and has an effect. Rhai itself would report a wrong
/// number of parameters as "function not found" at the first call, without a position.
fn check(
    binder: &Binder,
    context: &NativeCallContext,
    point: &str,
    function: &FnPtr,
) -> ScriptResult<Shared<ScriptFuncDef>> {
    let name = function.fn_name();
    let found: Vec<_> = context
        .iter_namespaces()
        .flat_map(|module| module.iter_script_fn_info().map(move |info| (module, info)))
        .filter(|(_, (_, _, defined, ..))| *defined == name)
        .map(|(module, (.., parameters, code))| {
            (module, parameters.saturating_sub(function.curry().len()), code)
        })
        .collect();
    let Some((module, _, code)) = found.iter().find(|(_, arity, _)| *arity == 2) else {
        let what =
            if function.is_anonymous() { "the closure".to_owned() } else { name.to_string() };
        let error = match found.first() {
            Some((_, arity, _)) => {
                error!(
                    "a hook takes two parameters, x and ctx, and {what} at {point} takes {arity}"
                )
            }
            None => error!("there is no function {name} in this script to bind at {point}"),
        };
        return Err(error.help("as in |x, ctx| x * 2.0").into());
    };
    let Some((error, position)) =
        effect::missing(code, function.curry().len(), point, binder.computes())
    else {
        return Ok(Shared::clone(code));
    };
    let mut error: Box<EvalAltResult> = error.into();
    error.set_position(position);
    let here = context.call_source().unwrap_or_default();
    Err(match module.id().filter(|id| *id != here) {
        None => error,
        Some(elsewhere) => {
            let (name, position) = (context.fn_name().to_owned(), context.call_position());
            EvalAltResult::ErrorInFunctionCall(name, elsewhere.to_owned(), error, position).into()
        }
    })
}

/// Gives the function its own clone of each model that it captured. A captured variable is shared,
/// and Rhai locks a shared value while one of its methods runs, so a hook that used the model during
/// `m.forward(…)` would find it locked. A clone of a model is a handle to the same model.
fn unshare_models(function: &mut FnPtr) {
    for captured in function.iter_curry_mut() {
        if captured.is_shared() && captured.read_lock::<Model>().is_some() {
            *captured = captured.flatten_clone();
        }
    }
}

/// The state that `hook` needs to bind a function.
#[derive(Clone)]
struct Binder {
    live: Live,
    modules: Modules,
    purity: Purity,
    /// See [`computes`](Self::computes).
    computes: Rc<OnceCell<BTreeSet<String>>>,
}

impl Binder {
    /// The names of the functions that return a new value and have no other effect: those of
    /// tensors, without the names that Rhai also gives to functions that change an array in place.
    fn computes(&self) -> &BTreeSet<String> {
        self.computes.get_or_init(|| {
            let mut known = Engine::new_raw();
            tensor::install_pure(&mut known);
            let names = known.collect_fn_metadata(
                None,
                |function| Some(function.metadata.name.to_string()),
                true,
            );
            names.into_iter().filter(|name| !name.starts_with("sort") && name != "split").collect()
        })
    }
}

/// Registers `hook`, which looks names up by `live` and `modules`.
pub fn install(engine: &mut Engine, live: &Live, modules: &Modules, purity: &Purity) {
    let binder = Binder {
        live: live.clone(),
        modules: modules.clone(),
        purity: purity.clone(),
        computes: Rc::default(),
    };
    macro_rules! hook {
        (|$points:ident: $typ:ty| $names:expr) => {{
            let own = binder.clone();
            engine.register_fn(
                "hook",
                move |context: NativeCallContext, $points: $typ, function: FnPtr| {
                    bind(&own, &context, $names, function, Map::new())
                },
            );
            let own = binder.clone();
            engine.register_fn(
                "hook",
                move |context: NativeCallContext, $points: $typ, function: FnPtr, options: Map| {
                    bind(&own, &context, $names, function, options)
                },
            );
        }};
    }
    hook!(|point: &str| vec![point.to_owned()]);
    hook!(|points: Array| point_names("hook", &points.into())?);
}

/// Registers the type and how it is shown.
pub fn install_members(engine: &mut Engine) {
    engine.register_type_with_name::<Hook>("hook");
    let show = |hook: &mut Hook| {
        let names: Vec<String> = hook.0.names.iter().map(|name| format!("{name:?}")).collect();
        let points = if let [one] = names.as_slice() {
            one.clone()
        } else {
            format!("[{}]", names.join(", "))
        };
        let options = hook.0.options.to_string();
        let options = if options.is_empty() { options } else { format!(", #{{{options}}}") };
        format!("hook({points}, {}{options})", hook.0.shown)
    };
    engine.register_fn("to_string", show);
    engine.register_fn("to_debug", show);
}
