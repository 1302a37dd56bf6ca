//! Finds, before a pass runs, how much of it an earlier pass has computed already, and how far its
//! own states can be stored. A *boundary* is the start of a block; boundary `n` of `n` blocks is the
//! end of the last.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::cache::Reuse;
use super::saved_context::TensorsBefore;
use crate::hook::{Point, Site, SiteSet};
use crate::model::{Input, Options, Start};
use crate::script::fingerprint::hasher::{Digest, Hasher};
use crate::script::fingerprint::value::{FunctionDigests, Met, value};
use crate::script::hook::Hook;
use crate::script::hook::context::Context;
use crate::script::value::Handle;
use crate::script::value::model::Model;

/// What can be restored for a pass, and what can be stored in it.
pub struct ResumePlan {
    /// The key of the state at each boundary that this pass may store or restore.
    pub keys: Vec<Digest>,
    /// The last boundary at which the state is stored.
    pub reach: usize,
    /// The first block that runs.
    pub from: usize,
    /// The first block after which no state can be stored, and the reason.
    pub limit: Option<(usize, String)>,
    /// The first boundary before which a hook runs.
    pub hooked: usize,
    /// The digest of each hook when the pass began; `None` for one that can't be skipped.
    pub known: Vec<Option<Digest>>,
    /// The tensors that the context held when the pass began.
    pub before: TensorsBefore,
    /// The script's and the pass's tensors that no hook may write to, each with its version when
    /// the pass began.
    pub others: Vec<(Handle, u64)>,
    /// What the caller observed since the last boundary.
    pub seen: BTreeMap<Site, Tensor>,
    /// Tensors whose writes are recorded until the pass ends.
    pub frozen: Vec<Handle>,
}

impl ResumePlan {
    #[allow(clippy::too_many_arguments)]
    /// `watched` are the sites that the caller observes, `sites` those and the hooks'.
    pub fn new(
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
            before: TensorsBefore::default(),
            others: Vec::new(),
            seen: BTreeMap::new(),
            frozen: Vec::new(),
        };
        // For a pass that starts from a stream of the script's own, the digest of the stream would
        // cost more than it could save. Weights that are variables may differ in the next pass.
        let decoder = &model.loaded().decoder;
        if reuse.is_off() || options.start.is_some() || decoder.has_variables() {
            return plan;
        }
        plan.reach = match options.stop {
            Some(Site { layer: Some(layer), .. }) => layer,
            Some(Site { point, .. }) if point < Point::PreBlock => 0,
            _ => layers,
        };
        // What was computed before the first of the points is not differentiated.
        if options.gradients
            && let Some(first) = first_block(watched)
        {
            plan.reach = plan.reach.min(first.unwrap_or(0));
        }
        let mut captured = Vec::new();
        for (hook, fires) in hooks {
            let digest = digest(hook, &mut captured);
            if let Some(first) = first_block(fires) {
                plan.hooked = plan.hooked.min(first.unwrap_or(0) + 1);
                if let Err(why) = &digest {
                    // An effect inside a block makes every later state depend on it; an effect
                    // before block 0 makes block 0's start depend on it too.
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
            let functions = &*hooks[0].0.reachable();
            let told = context.own_entries().iter().try_for_each(|(key, entry)| {
                held.text(key);
                if entry.is_shared() {
                    return Err("a variable that a closure shares".to_owned());
                }
                value(&mut held, entry, &mut own, functions)
            });
            let mut given = Met::default();
            let told = told
                .and_then(|()| value(&mut held, &context.reserved("ids"), &mut given, functions));
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
            plan.before = TensorsBefore::new(own.handles);
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

    /// Makes the keys. The key of a boundary covers everything that happens before it.
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
        out.text(&format!("{:?}", model.loaded().decoder.dtype_of_pass(options)));
        for row in 0..input.batch() {
            out.text(&format!("{:?} {:?}", input.row(row), input.real(row)));
        }
        input.sight().iter().for_each(|sight| out.bytes(sight));
        for layer in std::iter::once(None).chain((0..self.reach).map(Some)) {
            out.text(&format!("{layer:?}"));
            let here = |site: &Site| {
                site.layer == layer && (layer.is_some() || site.point < Point::PreBlock)
            };
            // A block may compute differently depending on which of its points are observed.
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

    /// Finds the last boundary whose state is stored, with everything that `watched` must observe
    /// before it.
    fn look(&mut self, reuse: &Reuse, watched: &SiteSet) {
        let mut store = reuse.store();
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

    /// The start that the decoder resumes from, if any state can be restored.
    pub fn resume(&self, reuse: &Reuse) -> Option<Start> {
        let store = reuse.store();
        let entry = store.get(self.keys.get(self.from).filter(|_| self.from > 0)?)?;
        Some(Start { layer: self.from, stream: entry.stream.clone() })
    }
}

/// The sites between a boundary and the one before it. The first boundary has those before block 0
/// too.
fn sites_before(sites: &SiteSet, boundary: usize) -> impl Iterator<Item = Site> {
    sites.iter().filter(move |site| match site.layer {
        Some(layer) => layer + 1 == boundary,
        None => boundary == 1 && site.point < Point::PreBlock,
    })
}

/// The first block in which a hook fires: `Some(None)` if it fires before all blocks, `None` if only
/// after them.
fn first_block(fires: &SiteSet) -> Option<Option<usize>> {
    fires
        .iter()
        .filter(|site| site.layer.is_some() || site.point < Point::PreBlock)
        .map(|site| site.layer)
        .min()
}

/// The digest of a hook's code and of everything that it captured; captured tensors are added to
/// `captured`.
///
/// # Errors
/// Why the hook can't be skipped, as a clause about it.
pub fn digest(hook: &Hook, captured: &mut Vec<Handle>) -> Result<Digest, String> {
    if hook.is_backward() {
        return Err("acts on gradients".into());
    }
    let mut out = Hasher::default();
    if !hook.tokens().is_all() {
        out.text(&format!("{:?}", hook.tokens()));
    }
    out.bytes(&hook.reachable().digest(hook.pointer())?);
    let mut met = Met::default();
    let told = hook
        .pointer()
        .iter_curry()
        .try_for_each(|held| value(&mut out, held, &mut met, &*hook.reachable()));
    captured.extend(met.handles);
    told.map_err(|why| format!("captures {why}"))?;
    Ok(out.finish())
}
