//! The [`Observer`] that calls a script's hooks during one pass of a model.

use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{DType, Device, Tensor, Var};
use rhai::{Dynamic, Engine, EvalAltResult, NativeCallContext};

use super::backward;
use super::bound::Hook;
use super::context::Context;
use super::invoke::invoke;
use crate::hook::{Observer, Picked, Reading, Site, SiteSet, Slots};
use crate::model::{self, Decoder, Input};
use crate::script::errors::error::from_text;
use crate::script::value::Handle;
use crate::tensor::Value;
use crate::{Error, Result, bail, error};

/// The number of passes with hooks that have begun in this process.
static PASSES: AtomicU64 = AtomicU64::new(0);

/// What a pass reads, and its place in a generation.
pub struct PassInfo<'a> {
    /// The options of the pass.
    pub options: &'a model::Options,
    /// The tokens that it reads.
    pub input: &'a Input,
    /// The number of the prompt's tokens in each row.
    pub prompt: usize,
    /// The number of passes in the generation; 1 outside of one.
    pub steps: usize,
}

/// Calls a context's hooks during one pass.
pub struct HookObserver<'a> {
    engine: &'a Engine,
    context: &'a Context,
    decoder: &'a Decoder,
    info: PassInfo<'a>,
    /// The number of the pass, which no other pass in this process has.
    pass: u64,
    /// The sites at which each hook fires.
    sites: Vec<SiteSet>,
    /// The tokens that each hook acts on; `None` for a hook that acts on all.
    picked: Vec<Option<Picked>>,
    /// The script's own error, with its position, which can't travel through the decoder.
    failure: Option<Box<EvalAltResult>>,
}

impl<'a> HookObserver<'a> {
    /// Calls the hooks of `context` in a pass of `decoder`.
    pub fn new(
        engine: &'a Engine,
        context: &'a Context,
        decoder: &'a Decoder,
        info: PassInfo<'a>,
    ) -> Self {
        let pass = PASSES.fetch_add(1, Ordering::Relaxed) + 1;
        Self {
            engine,
            context,
            decoder,
            info,
            pass,
            sites: Vec::new(),
            picked: Vec::new(),
            failure: None,
        }
    }

    /// The context whose hooks it calls.
    pub fn context(&self) -> &Context {
        self.context
    }

    /// Each hook, with the sites at which it fires in the pass whose sites were last asked for.
    pub fn bound(&self) -> Vec<(Hook, SiteSet)> {
        self.context.hooks().iter().cloned().zip(self.sites.iter().cloned()).collect()
    }

    /// The error to report for a pass that failed with `error`. If a hook failed, that is the
    /// hook's own error, reached through `call`.
    pub fn failure(self, error: Error, call: &NativeCallContext) -> Box<EvalAltResult> {
        match self.failure {
            None => error.into(),
            // The caret points into the hook; the call that ran the pass is one step on the way
            // there.
            Some(inner) if inner.is_catchable() => {
                let source = call.call_source().unwrap_or_default().to_owned();
                EvalAltResult::ErrorInFunctionCall(
                    call.fn_name().into(),
                    source,
                    inner,
                    call.call_position(),
                )
                .into()
            }
            Some(inner) => inner,
        }
    }

    /// The sites at which a hook fires.
    fn sites_of(&self, hook: &Hook, layers: usize) -> Result<SiteSet> {
        let (spec, mut sites) = (self.decoder.spec(), SiteSet::new(layers));
        for target in &hook.0.targets {
            let rotary = spec.rotary().is_some();
            if target.by_pattern && target.named.rotary.is_some_and(|only| only != rotary) {
                continue;
            }
            let named = target.named.clone().in_family(spec.family, rotary);
            let own = named.and_then(|named| named.sites(&target.layers, layers));
            if !target.by_pattern {
                sites.union(&own?);
                continue;
            }
            let reached = own.into_iter().flat_map(|own| own.iter().collect::<Vec<_>>());
            reached
                .filter(|site| self.decoder.check_site(*site, self.info.options).is_ok())
                .for_each(|site| sites.insert(site));
        }
        if sites.iter().next().is_none() {
            bail!(
                "{}: this {} model has no such point, or the pass does not come there",
                hook.name(),
                spec.family
            );
        }
        Ok(sites)
    }

    fn reading(&self) -> Reading {
        let PassInfo { input, prompt, steps, .. } = self.info;
        let real = (0..input.batch()).map(|row| input.real(row).to_vec()).collect();
        Reading { real, past: input.past(), prompt, steps }
    }

    /// The slots along the token dim, at `site`, of the tokens that a hook acts on.
    fn slots(&self, hook: usize, site: Site, x: &Tensor) -> Option<Slots> {
        let (dim, _) = site.point.token_dim()?;
        self.picked[hook].as_ref()?.at(site.point, x.dims()[dim])
    }

    /// Makes `ctx.ids`, `ctx.mask` and `ctx.positions` describe the tokens in `slots`. Returns the
    /// entries that they replace.
    fn show(&self, slots: &Slots) -> Result<[(&'static str, Dynamic); 3]> {
        let rows = slots.tokens.iter().enumerate().map(|(row, tokens)| {
            let (ids, positions) = (self.info.input.row(row), self.info.input.row_positions(row));
            let token = |slot: usize| tokens.get(slot).or(tokens.last()).copied().unwrap_or(0);
            (0..slots.width)
                .map(|slot| {
                    (
                        i64::from(ids[token(slot)]),
                        i64::from(positions[token(slot)]),
                        u8::from(slot < tokens.len()),
                    )
                })
                .collect::<Vec<_>>()
        });
        let all: Vec<(i64, i64, u8)> = rows.flatten().collect();
        let shape = (slots.tokens.len(), slots.width);
        let ids = Tensor::from_vec(
            all.iter().map(|token| token.0).collect::<Vec<i64>>(),
            shape,
            &Device::Cpu,
        )?;
        let positions = Tensor::from_vec(
            all.iter().map(|token| token.1).collect::<Vec<i64>>(),
            shape,
            &Device::Cpu,
        )?;
        let mask = Tensor::from_vec(
            all.iter().map(|token| token.2).collect::<Vec<u8>>(),
            shape,
            &Device::Cpu,
        )?;
        let mask = || Handle::fresh(Value::Bool(mask.clone()));
        let shown = [
            ("ids", Dynamic::from(Handle::from(ids.to_dtype(DType::I64)?).with_mask(mask()))),
            ("mask", Dynamic::from(mask())),
            ("positions", Dynamic::from(Handle::from(positions))),
        ];
        Ok(shown.map(|(key, value)| {
            let before = self.context.reserved(key);
            self.context.set_reserved(key, value);
            (key, before)
        }))
    }

    /// Calls a hook that acts on all tokens. Returns its replacement for `x`; `None` if it changes
    /// nothing.
    fn apply(&mut self, hook: &Hook, site: Site, x: &Value) -> Result<Option<Value>> {
        match invoke(hook, self.engine, self.context, site, x, self.pass) {
            Ok(left) => Ok(left),
            Err(failure) => {
                let failure = match self.info.input.past() {
                    0 => failure,
                    _ => of_cached_step(*failure).into(),
                };
                let sentence = failure.to_string();
                self.failure = Some(failure);
                bail!("{sentence}")
            }
        }
    }

    /// `x`, with a hook that waits for the gradient with regard to it.
    fn on_the_way_back(&self, at: usize, hook: &Hook, site: Site, x: &Tensor) -> Result<Tensor> {
        let begins;
        let x = match x.track_op() {
            true => x,
            false if self.info.options.gradients => {
                begins = Var::from_tensor(x)?;
                begins.as_tensor()
            }
            false => {
                return Err(error!(
                    "the hook at {site} waits for a gradient, and this pass never goes back"
                )
                .help("run it in m.gradients, or let a variable take part in the pass before it"));
            }
        };
        let slots = self.slots(at, site, x);
        if self.picked[at].is_some() && slots.is_none() {
            return Ok(x.clone());
        }
        backward::wait(x, hook, self.context, site, slots, self.pass)
    }

    /// Calls a hook that acts on some tokens: it gets only their slices of `x`, and its replacement
    /// is written back into `x`.
    fn apply_to(
        &mut self,
        slots: &Slots,
        hook: &Hook,
        site: Site,
        x: &Value,
    ) -> Result<Option<Value>> {
        let whole = x.real("a hook")?;
        let before = self.show(slots)?;
        let left = self.apply(hook, site, &Value::Real(slots.take(whole)?));
        before.into_iter().for_each(|(key, value)| self.context.set_reserved(key, value));
        match left? {
            Some(left) => Ok(Some(Value::Real(slots.put(whole, left.real("a hook")?)?))),
            None => Ok(None),
        }
    }
}

impl Observer for HookObserver<'_> {
    fn sites(&mut self, layers: usize) -> Result<SiteSet> {
        let mut all = SiteSet::new(layers);
        (self.sites, self.picked) = (Vec::new(), Vec::new());
        let reading =
            self.context.hooks().iter().any(|hook| !hook.tokens().is_all()).then(|| self.reading());
        for hook in self.context.hooks() {
            hook.tally().begin(self.pass);
            let mut sites = self.sites_of(hook, layers)?;
            let picked = match reading.as_ref().filter(|_| !hook.tokens().is_all()) {
                None => None,
                Some(reading) => {
                    hook.tokens()
                        .check(reading)
                        .map_err(|error| error.at(format!("the hook at {}", hook.name())))?;
                    let picked = hook.tokens().of(reading);
                    let mut reached = SiteSet::new(layers);
                    sites
                        .iter()
                        .filter(|site| picked.reach(site.point))
                        .for_each(|site| reached.insert(site));
                    sites = reached;
                    Some(picked)
                }
            };
            all.union(&sites);
            self.sites.push(sites);
            self.picked.push(picked);
        }
        Ok(all)
    }

    fn observe(&mut self, site: Site, x: &Tensor) -> Result<Option<Tensor>> {
        self.context.set_reserved("point", site.point.name().into());
        match site.layer {
            Some(layer) => self.context.set_reserved("layer", (layer as i64).into()),
            None => self.context.clear_reserved("layer"),
        }
        let mut left: Option<Value> = None;
        let context = self.context;
        for (at, hook) in context.hooks().iter().enumerate() {
            if !self.sites[at].contains(site) {
                continue;
            }
            let stands = left.clone().unwrap_or_else(|| Value::Real(x.clone()));
            if hook.is_backward() {
                let stands = stands.real("a hook")?;
                left = Some(Value::Real(self.on_the_way_back(at, hook, site, stands)?));
                continue;
            }
            let changed = if self.picked[at].is_none() {
                self.apply(hook, site, &stands)?
            } else if let Some(slots) = self.slots(at, site, x) {
                self.apply_to(&slots, hook, site, &stands)?
            } else {
                None
            };
            left = changed.or(left);
        }
        left.map(|left| left.real("a hook").cloned()).transpose()
    }
}

/// Explains an index that is out of range in a cached step, in which a hook sees only the new
/// token.
fn of_cached_step(error: EvalAltResult) -> EvalAltResult {
    match error {
        EvalAltResult::ErrorInFunctionCall(name, source, inner, position) => {
            EvalAltResult::ErrorInFunctionCall(
                name,
                source,
                of_cached_step(*inner).into(),
                position,
            )
        }
        EvalAltResult::ErrorRuntime(value, position)
            if value.to_string().contains("is out of range") =>
        {
            let error = from_text(&value.to_string());
            let error = error!("{}: this step of generate sees one position, as those before it are cached", error.message())
                .help("the option positions picks them by their place in the text, as in #{positions: 3}; #{cache: false} reads all anew");
            EvalAltResult::ErrorRuntime(error.to_string().into(), position)
        }
        other => other,
    }
}
