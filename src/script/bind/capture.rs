//! `m.capture(ids, points)`: one pass that records the tensors at hook points.

use rhai::{Array, Dynamic, Map};

use super::capture_points::CapturePoints;
use super::pass::Pass;
use super::pass_options::{NAMES, PassOptions};
use super::precomputed::Stores;
use crate::hook::{Capture, Point, not_reached};
use crate::model::Logits;
use crate::script::errors::error::ScriptResult;
use crate::script::hook::Hook;
use crate::script::hook::context::Context;
use crate::script::reuse::Reuse;
use crate::script::value::Handle;
use crate::script::value::options::Options;

impl Pass<'_> {
    /// Runs a pass that records the tensors at `points`, or at every point that a pass computes
    /// anyway if there are none given. Returns one tensor for a single point, else a map by name.
    pub(super) fn capture(
        &self,
        reuse: &Reuse,
        ids: &Handle,
        points: Option<Dynamic>,
        context: Option<&Context>,
        options: Map,
    ) -> ScriptResult<Dynamic> {
        let decoder = &self.model.loaded().decoder;
        let mut options = options;
        let has_hooks = context.is_some_and(|context| !context.hooks().is_empty());
        let stores = Stores::take(&mut options, has_hooks)?;
        let options = Options::new("capture", options, &[NAMES, &["layers", "into"]].concat())?;
        let mut pass = PassOptions::read(&options, self.model.loaded())?;
        let layers = options.get("layers");
        let points = match &points {
            None => CapturePoints::made_anyway(layers.as_ref(), decoder, &pass.options)?,
            Some(points) => {
                CapturePoints::read("capture", points, layers.as_ref(), decoder, &mut pass.options)?
            }
        };
        if options.get("logits").is_none() && !points.has(Point::Logits) {
            pass.options.logits = Logits::None;
        }
        if stores.is_used()
            && let Some(answer) = stores.answer(self.model, ids, &points)?
        {
            return Ok(answer);
        }
        let mut capture = Capture::new(points.places());
        self.run(ids, context, &pass, &mut capture, reuse)?;
        stores.keep(self.model, ids, &points, &capture)?;
        points.shaped(|point| point.tensor(capture.recorded(), not_reached))
    }
}

/// `m.capture` with the ids, one more argument and options. The argument may be the points, but
/// also a context, an array of hooks, or the options.
pub(super) fn capture(
    pass: &Pass,
    reuse: &Reuse,
    ids: &Handle,
    given: Dynamic,
    options: Map,
) -> ScriptResult<Dynamic> {
    if given.is_map() && options.is_empty() {
        return pass.capture(reuse, ids, None, None, given.cast::<Map>());
    }
    if let Some(context) = given.read_lock::<Context>() {
        return pass.capture(reuse, ids, None, Some(&context), options);
    }
    let hooks = given
        .read_lock::<Array>()
        .filter(|array| array.first().is_some_and(|first| first.is::<Hook>()));
    if let Some(hooks) = hooks {
        return pass.capture(
            reuse,
            ids,
            None,
            Some(&Context::of("capture", hooks.clone())?),
            options,
        );
    }
    pass.capture(reuse, ids, Some(given.flatten_clone()), None, options)
}
