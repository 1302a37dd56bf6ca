//! One pass that starts from a state that an earlier pass stored, and stores its own states at the
//! boundaries between blocks.

use std::collections::BTreeMap;
use std::rc::Rc;

use candle_core::Tensor;

use super::cache::Reuse;
use super::plan::{ResumePlan, digest};
use super::report::LastPass;
use super::saved_context::SavedContext;
use super::store::BoundaryState;
use crate::Result;
use crate::hook::{Observer, Point, Site, SiteSet};
use crate::model::{Input, Options, Output};
use crate::script::fingerprint::hasher::Digest;
use crate::script::hook::context::Context;
use crate::script::hook::{Hook, HookObserver};
use crate::script::value::Handle;
use crate::script::value::model::Model;

/// Runs a pass with the hooks of `script`, resumed from a stored state where there is one. `watch`
/// observes the pass and must not change anything.
///
/// # Errors
/// Those of the pass.
pub fn run(
    reuse: &Reuse,
    model: &Model,
    input: &Input,
    options: &Options,
    script: Option<&mut HookObserver>,
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

    let plan = ResumePlan::new(
        reuse,
        model,
        input,
        options,
        &hooks,
        context.as_ref(),
        &sites,
        &watch_sites,
    );
    let last = LastPass { layers, from: plan.from, limit: plan.limit.clone() };
    let options = Options { resume: plan.resume(reuse), ..options.clone() };
    let mut pass = ResumedPass {
        reuse,
        plan,
        script,
        context,
        hooks,
        sites,
        script_sites,
        watch,
        watch_sites,
    };
    let output = decoder.forward(input, &options, &mut pass);
    pass.plan.frozen.iter().for_each(Handle::forget_writes);
    // Passes that the hooks ran have been counted before this one.
    reuse.note(last);
    output
}

/// The observer of a resumed pass: calls the hooks, and stores the state at each boundary.
struct ResumedPass<'a, 's, 'e> {
    reuse: &'a Reuse,
    plan: ResumePlan,
    script: Option<&'s mut HookObserver<'e>>,
    context: Option<Context>,
    hooks: Vec<(Hook, SiteSet)>,
    sites: SiteSet,
    script_sites: Option<SiteSet>,
    watch: &'s mut dyn Observer,
    watch_sites: SiteSet,
}

impl ResumedPass<'_, '_, '_> {
    /// Whether the hooks that just ran at `site` changed nothing that restoring a state would not
    /// restore: no tensor of the script or the pass, and no captured variable. Also false if a hook
    /// converted the context to a string, because the string depends on the number of hooks.
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

    /// Stores the state at a boundary, where `stream` is the residual stream. If the context can't
    /// be stored, no later state is stored either.
    fn keep(&mut self, boundary: usize, stream: &Tensor) {
        // A state that is part of a graph would hold that graph in memory.
        if stream.track_op() {
            self.plan.reach = boundary - 1;
            return;
        }
        let captured = std::mem::take(&mut self.plan.seen);
        let context = match &self.context {
            Some(context) if self.plan.hooked <= boundary => {
                let others: Vec<Handle> =
                    self.plan.others.iter().map(|(handle, _)| handle.clone()).collect();
                match SavedContext::of(context, &self.plan.before, &others, &mut self.plan.frozen) {
                    Some(saved) => Some(Rc::new(saved)),
                    None => {
                        self.plan.reach = boundary - 1;
                        return;
                    }
                }
            }
            _ => None,
        };
        let entry = BoundaryState { stream: stream.clone(), context, captured };
        self.reuse.insert(self.plan.keys[boundary], entry);
    }

    /// Restores the state at the boundary where the pass starts, and replays what `watch` would
    /// have observed before it.
    fn restore(&mut self) -> Result<()> {
        let entries: Vec<BoundaryState> = {
            let store = self.reuse.store();
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

impl Observer for ResumedPass<'_, '_, '_> {
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

    fn record(&mut self, site: Site, x: &Tensor) -> Result<Option<Tensor>> {
        if self.watch_sites.contains(site) { self.watch.record(site, x) } else { Ok(None) }
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
