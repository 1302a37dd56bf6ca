//! `hook(points, fn, #{layers, positions, steps})`: a script's function bound to hook points.

mod effect;
mod tap;
mod target;

use std::cell::{Cell, OnceCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use rhai::{
    Array, Dynamic, Engine, EvalAltResult, FnPtr, Map, NativeCallContext, Position, ScriptFuncDef,
    Shared,
};
pub use tap::{Reads, Script};
use target::{Asked, Target};
pub use target::{layers, names};

use super::bind::context::Context;
use super::bind::model::Model;
use super::errors::error::ScriptResult;
use super::program::modules::Modules;
use super::reuse::{Code, Reuse, Sight};
use super::session::late_binding::{Live, Surroundings};
use super::session::run_session::Session;
use super::tensor::handle::Keeper;
use super::tensor::{self, Handle};
use super::value::kept;
use crate::error;
use crate::hook::{Layers, Tokens};

/// A function bound to a point. It keeps the code that it was made with, so that it outlives its
/// script.
#[derive(Clone)]
pub struct Hook(Rc<Bound>);

struct Bound {
    /// The points, as the script wrote them.
    names: Vec<String>,
    targets: Vec<Target>,
    options: Asked,
    function: FnPtr,
    /// What stands for the function where the hook is shown: its name, or `|x, ctx| …`.
    shown: String,
    /// Where `hook()` was called.
    position: Position,
    surroundings: Surroundings,
    code: Code,
    tally: Tally,
}

/// What a hook has done in the last pass that it was in.
#[derive(Default)]
pub struct Tally {
    /// The pass's number.
    pass: Cell<u64>,
    fired: Cell<usize>,
    spent: Cell<Duration>,
}

impl Tally {
    fn begin(&self, pass: u64) {
        if self.pass.replace(pass) != pass {
            self.fired.set(0);
            self.spent.set(Duration::ZERO);
        }
    }

    fn count(&self, pass: u64, spent: Duration) {
        self.begin(pass);
        self.fired.set(self.fired.get() + 1);
        self.spent.set(self.spent.get() + spent);
    }

    /// How often it ran, and how long that took in all.
    pub fn last_pass(&self) -> (usize, Duration) {
        (self.fired.get(), self.spent.get())
    }
}

impl Hook {
    fn bind(
        own: &Own,
        context: &NativeCallContext,
        names: Vec<String>,
        mut function: FnPtr,
        options: Map,
    ) -> ScriptResult<Self> {
        let options = Asked::read(options)?;
        let targets = Target::of(&names, &options)?;
        let code = check(own, context, &names.join(", "), &function)?;
        let shown = match function.is_anonymous() {
            true => format!("|{}| …", code.params[function.curry().len()..].join(", ")),
            false => function.fn_name().to_owned(),
        };
        unshare_models(&mut function);
        let position = context.call_position();
        let surroundings = Surroundings::of(context, &own.live);
        let (code, tally) = (own.reuse.code(context.engine(), &own.modules), Tally::default());
        Ok(Self(Rc::new(Bound {
            names,
            targets,
            options,
            function,
            shown,
            position,
            surroundings,
            code,
            tally,
        })))
    }

    /// The points, as the script wrote them.
    pub fn name(&self) -> String {
        self.0.names.join(", ")
    }

    /// Whether any of its points is in a block.
    pub fn in_block(&self) -> bool {
        self.0.targets.iter().any(|target| target.named.point.in_block())
    }

    /// Which tokens it acts on.
    pub fn tokens(&self) -> &Tokens {
        &self.0.options.tokens
    }

    /// What it calls, with all that it captured.
    pub fn pointer(&self) -> &FnPtr {
        &self.0.function
    }

    /// The functions that it may call, as things stand now.
    pub fn sight(&self) -> Rc<Sight> {
        self.0.code.sight(&self.0.surroundings)
    }

    /// `the hook at post-mlp (a.rhai:12:5)`.
    pub fn describe(&self) -> String {
        let (source, position) = self.bound_at();
        match self.sight().place(source, position) {
            Some(place) => format!("the hook at {} ({place})", self.name()),
            None => format!("the hook at {}", self.name()),
        }
    }

    /// The points as the script wrote them, and the layers.
    pub fn place(&self) -> (String, &Layers) {
        match self.0.targets.as_slice() {
            [only] => (self.name(), &only.layers),
            _ => (self.name(), &self.0.options.layers),
        }
    }

    /// The function's name; nothing of a closure.
    pub fn function(&self) -> Option<&str> {
        (!self.0.function.is_anonymous()).then(|| self.0.function.fn_name())
    }

    /// Where `hook()` was called: the script's name, and the place in it.
    pub fn bound_at(&self) -> (&str, Position) {
        (self.0.surroundings.source(), self.0.position)
    }

    pub fn tally(&self) -> &Tally {
        &self.0.tally
    }

    /// Whether both are the same binding.
    pub fn same(&self, other: &Hook) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    fn call(&self, engine: &Engine, x: &Handle, ctx: &Context) -> ScriptResult<Dynamic> {
        let surroundings = self.0.surroundings.now();
        #[allow(deprecated)] // Rhai's word for "may change in the future".
        let context = surroundings.create_context(engine);
        self.0.function.call_raw(
            &context,
            None,
            [Dynamic::from(x.clone()), Dynamic::from(ctx.clone())],
        )
    }
}

/// A hook takes `|x, ctx|`: Rhai itself would say "function not found" at the first call, without a
/// position. And it does something.
fn check(
    own: &Own,
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
    let Some((error, position)) = effect::none(code, function.curry().len(), point, own.computes())
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

/// A variable that a closure captures is shared, and Rhai locks a shared value while a method on it
/// runs: a hook that uses the model during `m.forward(…)` would find it locked. A model is a
/// handle, so a clone serves as well.
fn unshare_models(function: &mut FnPtr) {
    for captured in function.iter_curry_mut() {
        if captured.is_shared() && captured.read_lock::<Model>().is_some() {
            *captured = captured.flatten_clone();
        }
    }
}

impl Keeper for Bound {
    fn part(&self, given: &Handle) {
        kept::part(&self.function, given);
    }
}

/// What a hook holds of the session that it is bound in.
#[derive(Clone)]
struct Own {
    live: Live,
    reuse: Reuse,
    modules: Modules,
    computes: Rc<OnceCell<BTreeSet<String>>>,
}

impl Own {
    /// The functions of tensors: each gives a new value and does nothing else. What sorts or splits
    /// an array changes it.
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

/// `hook(name, fn)`.
pub fn install(engine: &mut Engine, session: &Session, modules: &Modules) {
    let own = Own {
        live: session.live().clone(),
        reuse: session.reuse().clone(),
        modules: modules.clone(),
        computes: Rc::default(),
    };
    macro_rules! hook {
        (|$points:ident: $typ:ty| $names:expr) => {{
            let own_ = own.clone();
            engine.register_fn(
                "hook",
                move |context: NativeCallContext, $points: $typ, function: FnPtr| {
                    Hook::bind(&own_, &context, $names, function, Map::new())
                },
            );
            let own_ = own.clone();
            engine.register_fn(
                "hook",
                move |context: NativeCallContext, $points: $typ, function: FnPtr, options: Map| {
                    Hook::bind(&own_, &context, $names, function, options)
                },
            );
        }};
    }
    hook!(|point: &str| vec![point.to_owned()]);
    hook!(|points: Array| names("hook", &points.into())?);
}

/// What a hook says of itself.
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
