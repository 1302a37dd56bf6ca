//! `hook(points, fn, options)`: checks the function and binds it.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use rhai::{Array, Engine, EvalAltResult, FnPtr, Map, NativeCallContext, ScriptFuncDef, Shared};

use super::bound::{Bound, Hook, Tally};
use super::effect;
use super::target::{HookOptions, Target, point_names};
use crate::error;
use crate::script::declare::{Declarations, Gradient, OnGpu, Page, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::fingerprint::purity::LazyNatives;
use crate::script::fingerprint::reachable::BoundCode;
use crate::script::program::late_binding::{Namespace, Surroundings};
use crate::script::program::modules::Modules;
use crate::script::program::own_names::written;

fn bind(
    binder: &Binder,
    context: &NativeCallContext,
    names: Vec<String>,
    function: FnPtr,
    options: Map,
) -> ScriptResult<Hook> {
    let options = HookOptions::read(options)?;
    let targets = Target::of(&names, &options)?;
    let code = check(binder, context, &names.join(", "), &function)?;
    let shown = match function.is_anonymous() {
        true => format!("|{}| …", code.params[function.curry().len()..].join(", ")),
        false => written(function.fn_name()).to_owned(),
    };
    let natives = binder.natives.of(context.engine());
    Ok(Hook(Rc::new(Bound {
        names,
        targets,
        options,
        function,
        shown,
        position: context.call_position(),
        surroundings: Surroundings::of(context, &binder.namespace),
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
        let what = if function.is_anonymous() { "the closure" } else { written(name) };
        let error = match found.first() {
            Some((_, arity, _)) => {
                error!(
                    "a hook takes two parameters, x and ctx, and {what} at {point} takes {arity}"
                )
            }
            None => error!("there is no function {what} in this script to bind at {point}"),
        };
        return Err(error.help("as in |x, ctx| x * 2.0").into());
    };
    let Some((error, position)) =
        effect::missing(code, function.curry().len(), point, binder.computes(context.engine()))
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

/// The state that `hook` needs to bind a function.
#[derive(Clone)]
struct Binder {
    namespace: Namespace,
    modules: Modules,
    natives: LazyNatives,
    /// See [`computes`](Self::computes).
    computes: Rc<OnceCell<BTreeSet<String>>>,
}

impl Binder {
    /// The names of the functions of tensors that return a new value and have no other effect.
    fn computes(&self, engine: &Engine) -> &BTreeSet<String> {
        self.computes.get_or_init(|| Declarations::of(engine).computing())
    }
}

/// Registers `hook(points, function)`, and what a hook shows of itself.
pub fn install(
    registry: &mut Registry,
    namespace: &Namespace,
    modules: &Modules,
    natives: &LazyNatives,
) {
    let own = Binder {
        namespace: namespace.clone(),
        modules: modules.clone(),
        natives: natives.clone(),
        computes: Rc::default(),
    };
    let [one, one_with_options, several, several_with_options] =
        std::array::from_fn(|_| own.clone());
    registry.section(Page::Experiments, "Hooks");
    registry
        .declare(
            "hook(point, function, options)",
            Purity::Impure("binds a hook"),
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "a function of x and ctx, bound to a hook point: (point, function, #{layers: 3 \
            or [0, 2] or 4..8 or -1}); what it returns takes x's place",
            "m.forward(ids, context([hook(\"logits\", |x, ctx| x * \
            0.0)])).logits.abs().max().item()",
            "0.0",
        )
        .row_for(
            "at several points",
            "an array of names, or a pattern: a pass takes those of a pattern that it comes to",
            "let n = 0; m.forward(ids, [hook([\"logits\", \"*-tok-*\"], |x, ctx| { n += 1; \
            })]); n",
            "2",
        )
        .row_for(
            "at some tokens",
            "positions count a row's real tokens, steps the passes of generate (0 reads the \
            prompt): the same tokens with a cache and without; x is their part alone, and \
            what is left of it is put in their places",
            "let seen = (); m.forward(ids, [hook(\"post-mlp\", |x, ctx| { seen = x.shape; \
            }, #{positions: [0, -1], layers: 0})]); seen == [1, 2, m.config.hidden_size]",
            "true",
        )
        .row_for(
            "in generate",
            "ctx.step > 0 changes the prompt too with cache: false, where each pass reads \
            it anew; steps: 1.. means the generated tokens both ways",
            "let zero = hook(\"post-mlp\", |x, ctx| x * 0.0, #{steps: 1..}); \
            m.generate(ids, [zero]).text == m.generate(ids, [zero], #{cache: false}).text",
            "true",
        )
        .function(move |call: NativeCallContext, point: &str, function: FnPtr| {
            bind(&one, &call, vec![point.to_owned()], function, Map::new())
        })
        .function(move |call: NativeCallContext, point: &str, function: FnPtr, options: Map| {
            bind(&one_with_options, &call, vec![point.to_owned()], function, options)
        })
        .function(move |call: NativeCallContext, points: Array, function: FnPtr| {
            bind(&several, &call, point_names("hook", &points.into())?, function, Map::new())
        })
        .function(move |call: NativeCallContext, points: Array, function: FnPtr, options: Map| {
            bind(
                &several_with_options,
                &call,
                point_names("hook", &points.into())?,
                function,
                options,
            )
        });
    registry.type_name::<Hook>("hook");
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
    registry
        .declare("to_string(x)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .shown(show);
}
