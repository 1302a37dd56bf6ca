//! `hook(name, fn, #{layers})`: a script's function bound to a hook point, and what calls it during a pass.

mod effect;

use std::cell::{Cell, OnceCell};
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use candle_core::Tensor;
use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, Map, NativeCallContext, Position};

use super::context::Context;
use super::error::ScriptResult;
use super::kept;
use super::live::{Live, Surroundings};
use super::model::Model;
use super::modules::Modules;
use super::options::{Options, describe, ints};
use super::reuse::{Code, Reuse, Sight};
use super::session::Session;
use super::tensor::handle::Keeper;
use super::tensor::{self, Handle};
use crate::hook::{Layers, Named, Observer, Site, SiteSet};
use crate::tensor::Value;
use crate::{Error, Result, bail, error};

/// A function bound to a point. It keeps the code that it was made with, so that it outlives its script.
#[derive(Clone)]
pub struct Hook(Rc<Bound>);

struct Bound {
    /// As the script wrote it.
    name: String,
    named: Named,
    layers: Layers,
    function: FnPtr,
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
        name: &str,
        mut function: FnPtr,
        options: Map,
    ) -> ScriptResult<Self> {
        let options = Options::new("hook", options, &["layers"])?;
        let named = Named::parse(name)?;
        let asked = match options.get("layers") {
            Some(value) => layers(&value)?,
            None => Layers::All,
        };
        let layers = named.layers(asked)?;
        check(own, context, name, &function)?;
        unshare_models(&mut function);
        let position = context.call_position();
        let surroundings = Surroundings::of(context, &own.live);
        let (code, tally) = (own.reuse.code(context.engine(), &own.modules), Tally::default());
        Ok(Self(Rc::new(Bound { name: name.into(), named, layers, function, position, surroundings, code, tally })))
    }

    pub fn named(&self) -> &Named {
        &self.0.named
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
            Some(place) => format!("the hook at {} ({place})", self.0.name),
            None => format!("the hook at {}", self.0.name),
        }
    }

    /// The point as the script wrote it, and the layers where it did not say them there.
    pub fn place(&self) -> (&str, &Layers) {
        (&self.0.name, &self.0.layers)
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
        self.0.function.call_raw(&context, None, [Dynamic::from(x.clone()), Dynamic::from(ctx.clone())])
    }
}

/// A hook takes `|x, ctx|`: Rhai itself would say "function not found" at the first call, without a position. And it does
/// something.
fn check(own: &Own, context: &NativeCallContext, point: &str, function: &FnPtr) -> ScriptResult<()> {
    let name = function.fn_name();
    let found: Vec<_> = context
        .iter_namespaces()
        .flat_map(|module| module.iter_script_fn_info().map(move |info| (module, info)))
        .filter(|(_, (_, _, defined, ..))| *defined == name)
        .map(|(module, (.., parameters, code))| (module, parameters.saturating_sub(function.curry().len()), code))
        .collect();
    let Some((module, _, code)) = found.iter().find(|(_, arity, _)| *arity == 2) else {
        let what = if function.is_anonymous() { "the closure".to_owned() } else { name.to_string() };
        let error = match found.first() {
            Some((_, arity, _)) => {
                error!("a hook takes two parameters, x and ctx, and {what} at {point} takes {arity}")
            }
            None => error!("there is no function {name} in this script to bind at {point}"),
        };
        return Err(error.help("as in |x, ctx| x * 2.0").into());
    };
    let Some((error, position)) = effect::none(code, function.curry().len(), point, own.computes()) else {
        return Ok(());
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

/// A variable that a closure captures is shared, and Rhai locks a shared value while a method on it runs: a hook that
/// uses the model during `m.forward(…)` would find it locked. A model is a handle, so a clone serves as well.
fn unshare_models(function: &mut FnPtr) {
    for captured in function.iter_curry_mut() {
        if captured.is_shared() && captured.read_lock::<Model>().is_some() {
            *captured = captured.flatten_clone();
        }
    }
}

/// The layers option: `3`, `[0, 2]`, `4..8` or `-1`.
pub fn layers(value: &Dynamic) -> Result<Layers> {
    if let Some(list) = ints(value) {
        if list.is_empty() {
            bail!("layers is an empty array: the hook would never run");
        }
        return Ok(Layers::Some(list));
    }
    if let Some(range) = value.read_lock::<Range<i64>>() {
        return Ok(Layers::Range(range.start, range.end));
    }
    if let Some(range) = value.read_lock::<RangeInclusive<i64>>() {
        let end = if *range.end() == -1 { i64::MAX } else { range.end().saturating_add(1) };
        return Ok(Layers::Range(*range.start(), end));
    }
    Err(error!("layers must be a layer, an array of them or a range, not {}", describe(value))
        .help("as in #{layers: 3}, #{layers: [0, 2]}, #{layers: 4..8} or #{layers: -1}"))
}

/// How many passes with hooks have begun.
static PASSES: AtomicU64 = AtomicU64::new(0);

/// Calls a context's hooks during one pass.
pub struct Script<'a> {
    engine: &'a Engine,
    context: &'a Context,
    /// The pass's number.
    pass: u64,
    /// Where each hook fires.
    sites: Vec<SiteSet>,
    family: &'static str,
    rotary: bool,
    /// The script's own error, with its position: the pass between can't carry it.
    failure: Option<Box<EvalAltResult>>,
}

impl<'a> Script<'a> {
    pub fn new(engine: &'a Engine, context: &'a Context, family: &'static str, rotary: bool) -> Self {
        let pass = PASSES.fetch_add(1, Ordering::Relaxed) + 1;
        Self { engine, context, pass, sites: Vec::new(), family, rotary, failure: None }
    }

    pub fn context(&self) -> &Context {
        self.context
    }

    /// Each hook, and where it fires in the pass whose sites were asked for last.
    pub fn bound(&self) -> Vec<(Hook, SiteSet)> {
        self.context.hooks().iter().cloned().zip(self.sites.iter().cloned()).collect()
    }

    /// What to report for a pass that failed with `error`; a hook's own failure was reached through `call`.
    pub fn failure(self, error: Error, call: &NativeCallContext) -> Box<EvalAltResult> {
        match self.failure {
            None => error.into(),
            // The caret belongs to the place in the hook, and the way there leads through the call that ran the pass.
            Some(inner) if inner.is_catchable() => {
                let source = call.call_source().unwrap_or_default().to_owned();
                EvalAltResult::ErrorInFunctionCall(call.fn_name().into(), source, inner, call.call_position()).into()
            }
            Some(inner) => inner,
        }
    }

    fn run(&self, hook: &Hook, site: Site, x: &Handle) -> ScriptResult<Option<Value>> {
        let began = Instant::now();
        let returned = hook.call(self.engine, x, self.context);
        hook.0.tally.count(self.pass, began.elapsed());
        let returned = returned?;
        if returned.is_unit() {
            return Ok(None);
        }
        let shape = x.value().dims().to_vec();
        let wrong = |came: String| {
            let place = match site.layer {
                Some(layer) => format!("{}, layer {layer},", hook.0.name),
                None => hook.0.name.clone(),
            };
            let error = error!("the hook at {place} must return a tensor {shape:?} or nothing, and returned {came}");
            let error: Box<EvalAltResult> = error.into();
            let mut error = *error;
            error.set_position(hook.0.position);
            Box::new(error)
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
}

impl Observer for Script<'_> {
    fn sites(&mut self, layers: usize) -> Result<SiteSet> {
        let mut all = SiteSet::new(layers);
        self.sites.clear();
        for hook in self.context.hooks() {
            hook.0.tally.begin(self.pass);
            let bound = hook.named().check_family(self.family, self.rotary);
            match bound.and_then(|()| hook.named().sites(&hook.0.layers, layers)) {
                Ok(sites) => {
                    all.union(&sites);
                    self.sites.push(sites);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    fn observe(&mut self, site: Site, x: &Tensor) -> Result<Option<Tensor>> {
        self.context.set_reserved("point", site.point.name().into());
        match site.layer {
            Some(layer) => self.context.set_reserved("layer", (layer as i64).into()),
            None => self.context.clear_reserved("layer"),
        }
        let (mut left, mut changed) = (Value::Real(x.clone()), false);
        for (hook, sites) in self.context.hooks().iter().zip(&self.sites) {
            if !sites.contains(site) {
                continue;
            }
            // Each is given a tensor of its own: what one before it kept is another.
            let given = Handle::given(left, hook.0.clone());
            let ran = self.run(hook, site, &given);
            given.release();
            match ran {
                Ok(returned) => {
                    changed |= returned.is_some();
                    // What a hook wrote into x in place counts, as what it returns does.
                    left = returned.unwrap_or_else(|| given.lend());
                }
                Err(failure) => {
                    let sentence = failure.to_string();
                    self.failure = Some(failure);
                    bail!("{sentence}");
                }
            }
        }
        let left = left.real("a hook")?;
        Ok((changed || !is_same_storage(left, x)).then(|| left.clone()))
    }
}

impl Keeper for Bound {
    fn part(&self, given: &Handle) {
        kept::part(&self.function, given);
    }
}

fn is_same_storage(a: &Tensor, b: &Tensor) -> bool {
    Value::Real(a.clone()).addresses() == Value::Real(b.clone()).addresses()
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
    /// The functions of tensors: each gives a new value and does nothing else. What sorts or splits an array changes it.
    fn computes(&self) -> &BTreeSet<String> {
        self.computes.get_or_init(|| {
            let mut known = Engine::new_raw();
            tensor::install_pure(&mut known);
            let names = known.collect_fn_metadata(None, |function| Some(function.metadata.name.to_string()), true);
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
    let other = own.clone();
    engine.register_fn("hook", move |context: NativeCallContext, name: &str, function: FnPtr| -> ScriptResult<Hook> {
        Hook::bind(&other, &context, name, function, Map::new())
    });
    engine.register_fn(
        "hook",
        move |context: NativeCallContext, name: &str, function: FnPtr, options: Map| -> ScriptResult<Hook> {
            Hook::bind(&own, &context, name, function, options)
        },
    );
}

/// What a hook says of itself.
pub fn install_members(engine: &mut Engine) {
    engine.register_type_with_name::<Hook>("hook");
    let show = |hook: &mut Hook| match hook.0.layers {
        Layers::All => format!("hook({:?})", hook.0.name),
        _ => format!("hook({:?}, {:?})", hook.0.name, hook.0.layers),
    };
    engine.register_fn("to_string", show);
    engine.register_fn("to_debug", show);
}

/// The points of `capture`: one name, or an array of them.
pub fn point_names(value: &Dynamic) -> Result<Vec<String>> {
    let name = |value: &Dynamic| value.clone().into_string().ok();
    if let Some(one) = name(value) {
        return Ok(vec![one]);
    }
    let list = value.read_lock::<Array>().and_then(|list| list.iter().map(name).collect::<Option<Vec<_>>>());
    match list {
        Some(list) if !list.is_empty() => Ok(list),
        _ => bail!("capture takes a point's name or an array of them, not {}", describe(value)),
    }
}
