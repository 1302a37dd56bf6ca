//! One pass that begins where an earlier one like it stood, and keeps what stands at each boundary
//! for a later one.

use std::collections::BTreeMap;
use std::rc::Rc;

use candle_core::Tensor;

use super::cache_key::{Digest, Hasher, Met, value};
use super::saved_context::{Before, Saved};
use super::store::Entry;
use super::{Last, Reuse};
use crate::Result;
use crate::hook::{Observer, Point, Site, SiteSet};
use crate::model::{Input, Options, Output, Start};
use crate::script::bind::context::Context;
use crate::script::bind::model::Model;
use crate::script::hook::{Hook, Script};
use crate::script::tensor::Handle;

/// Runs a pass of `script`'s hooks, which `watch` looks on at. `watch` may not change anything.
///
/// # Errors
/// Those of the pass.
pub fn run(
    reuse: &Reuse,
    model: &Model,
    input: &Input,
    options: &Options,
    script: Option<&mut Script>,
    watch: &mut dyn Observer,
) -> Result<Output> {
    let decoder = &model.loaded().decoder;
    let layers = decoder.spec().layers;
    let mut sites = SiteSet::new(layers);
    let mut script = script;
    let script_sites = script.as_mut().map(|script| script.sites(layers)).transpose()?;
    let watch_sites = watch.sites(layers)?;
    script_sites.iter().chain([&watch_sites]).for_each(|some| sites.union(some));
    let hooks = script.as_ref().map(|script| script.bound()).unwrap_or_default();
    let context = script.as_ref().map(|script| script.context().clone());
    context.iter().for_each(Context::forget_description);

    let plan =
        Plan::new(reuse, model, input, options, &hooks, context.as_ref(), &sites, &watch_sites);
    let last = Last { layers, from: plan.from, limit: plan.limit.clone() };
    let options = Options { resume: plan.resume(reuse), ..options.clone() };
    let mut pass =
        Pass { reuse, plan, script, context, hooks, sites, script_sites, watch, watch_sites };
    let output = decoder.forward(input, &options, &mut pass);
    pass.plan.frozen.iter().for_each(Handle::forget_writes);
    // After those that its hooks ran.
    reuse.note(last);
    output
}

/// What is known of a pass before it runs.
struct Plan {
    /// Of each boundary that can be reached, what tells it from every other.
    keys: Vec<Digest>,
    /// The last boundary at which something is kept.
    reach: usize,
    /// The first block that runs.
    from: usize,
    /// Why nothing is kept beyond a block.
    limit: Option<(usize, String)>,
    /// The first boundary before which a hook has run.
    hooked: usize,
    /// What each hook was when the pass began, of those that can be left out.
    known: Vec<Option<Digest>>,
    before: Before,
    /// The script's and the pass's tensors that no hook may write to, and how often each had been
    /// written to.
    others: Vec<(Handle, u64)>,
    seen: BTreeMap<Site, Tensor>,
    /// Tensors of which is noted what is written to them.
    frozen: Vec<Handle>,
}

impl Plan {
    #[allow(clippy::too_many_arguments)]
    fn new(
        reuse: &Reuse,
        model: &Model,
        input: &Input,
        options: &Options,
        hooks: &[(Hook, SiteSet)],
        context: Option<&Context>,
        sites: &SiteSet,
        watched: &SiteSet,
    ) -> Self {
        let layers = model.loaded().decoder.spec().layers;
        let mut plan = Self {
            keys: Vec::new(),
            reach: 0,
            from: 0,
            limit: None,
            hooked: usize::MAX,
            known: Vec::new(),
            before: Before::default(),
            others: Vec::new(),
            seen: BTreeMap::new(),
            frozen: Vec::new(),
        };
        // A pass that begins with a stream of the script's own is cheaper than it is to tell it
        // from others.
        if reuse.is_off() || options.start.is_some() {
            return plan;
        }
        plan.reach = match options.stop {
            Some(Site { layer: Some(layer), .. }) => layer,
            Some(Site { point, .. }) if point < Point::PreBlock => 0,
            _ => layers,
        };
        let mut captured = Vec::new();
        for (hook, fires) in hooks {
            let digest = digest(hook, &mut captured);
            if let Some(first) = first_block(fires) {
                plan.hooked = plan.hooked.min(first.unwrap_or(0) + 1);
                if let Err(why) = &digest {
                    // What it does in a block can't be undone after it; what it does before block
                    // 0, not even there.
                    let reached = first.unwrap_or(0);
                    if reached < plan.reach || (first.is_none() && plan.limit.is_none()) {
                        plan.reach = reached.min(plan.reach);
                        plan.limit = Some((reached, format!("{} {why}", hook.describe())));
                    }
                }
            }
            plan.known.push(digest.ok());
        }
        if plan.reach == 0 {
            return plan;
        }
        let mut held = Hasher::default();
        if let Some(context) = context.filter(|_| plan.hooked <= plan.reach) {
            let mut own = Met::default();
            let sight = &*hooks[0].0.sight();
            let told = context.own_entries().iter().try_for_each(|(key, entry)| {
                held.text(key);
                if entry.is_shared() {
                    return Err("a variable that a closure shares".to_owned());
                }
                value(&mut held, entry, &mut own, sight)
            });
            let mut given = Met::default();
            let told =
                told.and_then(|()| value(&mut held, &context.reserved("ids"), &mut given, sight));
            let aliased = own
                .handles
                .iter()
                .find(|handle| captured.iter().any(|other: &Handle| other.same(handle)));
            match (told, aliased) {
                (Ok(()), None) => {}
                (told, _) => {
                    let why =
                        told.err().unwrap_or_else(|| "a tensor that a hook captured too".into());
                    plan.reach = plan.hooked - 1;
                    plan.limit = Some((plan.reach, format!("the context holds {why}")));
                }
            }
            plan.before = Before::new(own.handles);
            let mut others = captured;
            others.extend(given.handles);
            others.extend(
                ["mask", "positions"]
                    .iter()
                    .filter_map(|key| context.reserved(key).try_cast::<Handle>()),
            );
            plan.others =
                others.into_iter().map(|handle| (handle.clone(), handle.version())).collect();
        }
        plan.make_keys(model, input, options, hooks, sites, &held.finish());
        plan.look(reuse, watched);
        plan
    }

    /// A boundary's key is made of all that happens before it.
    fn make_keys(
        &mut self,
        model: &Model,
        input: &Input,
        options: &Options,
        hooks: &[(Hook, SiteSet)],
        sites: &SiteSet,
        held: &Digest,
    ) {
        let mut out = Hasher::default();
        out.number(model.loaded().number);
        out.number(u64::from(options.beyond));
        out.number(u64::from(options.check_finite));
        for row in 0..input.batch() {
            out.text(&format!("{:?} {:?}", input.row(row), input.real(row)));
        }
        input.sight().iter().for_each(|sight| out.bytes(sight));
        for layer in std::iter::once(None).chain((0..self.reach).map(Some)) {
            out.text(&format!("{layer:?}"));
            let here = |site: &Site| {
                site.layer == layer && (layer.is_some() || site.point < Point::PreBlock)
            };
            // Which points are looked at may decide how a block computes.
            sites.iter().filter(here).for_each(|site| out.text(site.point.name()));
            for ((_, fires), known) in hooks.iter().zip(&self.known) {
                for site in fires.iter().filter(here) {
                    out.text(site.point.name());
                    out.bytes(known.as_ref().map_or(&[], |digest| digest.as_slice()));
                }
            }
            let boundary = layer.map_or(0, |layer| layer + 1);
            let mut key = out.clone();
            if self.hooked <= boundary.max(1) {
                key.bytes(held);
            }
            self.keys.push(key.finish());
        }
    }

    /// The furthest boundary that is known, and of which all that `watched` is to see before it is
    /// known too.
    fn look(&mut self, reuse: &Reuse, watched: &SiteSet) {
        let mut store = reuse.0.store.borrow_mut();
        let captured = |boundary: usize| {
            let Some(entry) = store.get(&self.keys[boundary]) else { return false };
            sites_before(watched, boundary).all(|site| entry.captured.contains_key(&site))
        };
        let needed = |boundary: usize| sites_before(watched, boundary).next().is_some();
        let complete = (1..=self.reach)
            .take_while(|&boundary| !needed(boundary) || captured(boundary))
            .count();
        self.from = (1..=complete)
            .rev()
            .find(|&boundary| store.get(&self.keys[boundary]).is_some())
            .unwrap_or(0);
        for boundary in 1..=self.from {
            store.touch(&self.keys[boundary]);
        }
    }

    fn resume(&self, reuse: &Reuse) -> Option<Start> {
        let store = reuse.0.store.borrow();
        let entry = store.get(self.keys.get(self.from).filter(|_| self.from > 0)?)?;
        Some(Start { layer: self.from, stream: entry.stream.clone() })
    }
}

/// The sites between a boundary and the one before; before the first boundary, those of the
/// embeddings too.
fn sites_before(sites: &SiteSet, boundary: usize) -> impl Iterator<Item = Site> {
    sites.iter().filter(move |site| match site.layer {
        Some(layer) => layer + 1 == boundary,
        None => boundary == 1 && site.point < Point::PreBlock,
    })
}

/// The first block in which a hook fires; `Some(None)` is before all blocks, nothing only after
/// them.
fn first_block(fires: &SiteSet) -> Option<Option<usize>> {
    fires
        .iter()
        .filter(|site| site.layer.is_some() || site.point < Point::PreBlock)
        .map(|site| site.layer)
        .min()
}

/// A hook's code and all that it captured, whose tensors are added to `captured`.
fn digest(hook: &Hook, captured: &mut Vec<Handle>) -> Result<Digest, String> {
    let mut out = Hasher::default();
    if !hook.tokens().is_all() {
        out.text(&format!("{:?}", hook.tokens()));
    }
    out.bytes(&hook.sight().function(hook.pointer())?);
    let mut met = Met::default();
    let told = hook
        .pointer()
        .iter_curry()
        .try_for_each(|held| value(&mut out, held, &mut met, &hook.sight()));
    captured.extend(met.handles);
    told.map_err(|why| format!("captures {why}"))?;
    Ok(out.finish())
}

/// Calls the hooks, and keeps what stands at the boundaries.
struct Pass<'a, 's, 'e> {
    reuse: &'a Reuse,
    plan: Plan,
    script: Option<&'s mut Script<'e>>,
    context: Option<Context>,
    hooks: Vec<(Hook, SiteSet)>,
    sites: SiteSet,
    script_sites: Option<SiteSet>,
    watch: &'s mut dyn Observer,
    watch_sites: SiteSet,
}

impl Pass<'_, '_, '_> {
    /// Whether the hooks that just ran at `site` left everything alone that is not put back.
    fn left_alone(&self, site: Site) -> bool {
        let told = self.context.as_ref().is_some_and(Context::was_described);
        let same = |(hook, fires): &(Hook, SiteSet), known: &Option<Digest>| {
            !fires.contains(site)
                || known.is_some_and(|known| {
                    digest(hook, &mut Vec::new()).is_ok_and(|now| now == known)
                })
        };
        !told
            && self.plan.others.iter().all(|(handle, version)| handle.version() == *version)
            && self.hooks.iter().zip(&self.plan.known).all(|(hook, known)| same(hook, known))
    }

    fn keep(&mut self, boundary: usize, stream: &Tensor) {
        let captured = std::mem::take(&mut self.plan.seen);
        let context = match &self.context {
            Some(context) if self.plan.hooked <= boundary => {
                let others: Vec<Handle> =
                    self.plan.others.iter().map(|(handle, _)| handle.clone()).collect();
                match Saved::of(context, &self.plan.before, &others, &mut self.plan.frozen) {
                    Some(saved) => Some(Rc::new(saved)),
                    None => {
                        self.plan.reach = boundary - 1;
                        return;
                    }
                }
            }
            _ => None,
        };
        let entry = Entry { stream: stream.clone(), context, captured };
        self.reuse.0.store.borrow_mut().insert(self.plan.keys[boundary], entry, self.reuse.0.limit);
    }

    /// Puts back what stood where the pass begins.
    fn restore(&mut self) -> Result<()> {
        let entries: Vec<Entry> = {
            let store = self.reuse.0.store.borrow();
            self.plan.keys[1..=self.plan.from]
                .iter()
                .filter_map(|key| store.get(key).cloned())
                .collect()
        };
        let seen: BTreeMap<Site, &Tensor> = entries
            .iter()
            .flat_map(|entry| entry.captured.iter().map(|(site, x)| (*site, x)))
            .collect();
        for (site, x) in seen.into_iter().filter(|(site, _)| self.watch_sites.contains(*site)) {
            self.watch.observe(site, x)?;
        }
        if let (Some(saved), Some(context)) =
            (entries.last().and_then(|entry| entry.context.clone()), &self.context)
        {
            saved.restore(context, &self.plan.before, &mut self.plan.frozen)?;
        }
        Ok(())
    }
}

impl Observer for Pass<'_, '_, '_> {
    fn sites(&mut self, _: usize) -> Result<SiteSet> {
        Ok(self.sites.clone())
    }

    fn observe(&mut self, site: Site, x: &Tensor) -> Result<Option<Tensor>> {
        let mut left = None;
        if let Some(script) = self
            .script
            .as_mut()
            .filter(|_| self.script_sites.as_ref().is_some_and(|s| s.contains(site)))
        {
            left = script.observe(site, x)?;
            let block = match site.layer {
                Some(layer) => layer,
                None if site.point < Point::PreBlock => 0,
                None => usize::MAX,
            };
            if block < self.plan.reach && !self.left_alone(site) {
                self.plan.reach = block;
            }
        }
        if self.watch_sites.contains(site) {
            let stands = left.as_ref().unwrap_or(x);
            if self.plan.reach > site.layer.unwrap_or(0) {
                self.plan.seen.insert(site, stands.clone());
            }
            left = self.watch.observe(site, stands)?.or(left);
        }
        Ok(left)
    }

    fn boundary(&mut self, layer: usize, x: &Tensor) -> Result<()> {
        if layer > 0 && layer == self.plan.from {
            return self.restore();
        }
        if layer > 0 && layer <= self.plan.reach {
            self.keep(layer, x);
        }
        Ok(())
    }
}
