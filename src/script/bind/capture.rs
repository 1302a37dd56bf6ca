//! `m.capture(ids, points)`: one pass that records the tensors at hook points.

use rhai::{Array, Dynamic, Map};

use super::pass::Pass;
use super::pass_options::{NAMES, PassOptions};
use crate::hook::{Capture, Layers, Point, PointName, Site, is_pattern, named_like};
use crate::model;
use crate::model::{Decoder, Logits};
use crate::script::errors::error::ScriptResult;
use crate::script::hook::context::Context;
use crate::script::hook::{Hook, layers, point_names};
use crate::script::reuse::Reuse;
use crate::script::value::Handle;
use crate::script::value::options::Options;
use crate::script::value::record::Record;
use crate::{Error, Result, bail};

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
        let options = Options::new("capture", options, &[NAMES, &["layers"]].concat())?;
        let mut pass = PassOptions::read(&options, self.model.loaded())?;
        let asked = options.get("layers");
        let names = points.as_ref().map(|points| point_names("capture", points)).transpose()?;
        pass.options.loss |= names.iter().flatten().any(|name| name == Point::UnreducedLoss.name());
        let wanted = match &names {
            None => CapturePoint::made_anyway(asked.as_ref(), decoder, &pass.options)?,
            Some(names) => {
                let wanted = names
                    .iter()
                    .map(|name| CapturePoint::read(name, asked.as_ref(), decoder, &pass.options));
                wanted.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect()
            }
        };
        if options.get("logits").is_none()
            && !wanted.iter().any(|wanted| wanted.point == Point::Logits)
        {
            pass.options.logits = Logits::None;
        }
        let mut capture =
            Capture::new(wanted.iter().map(|wanted| (wanted.point, wanted.layers.clone())));
        self.run(ids, context, &pass, &mut capture, reuse)?;

        let mut kept = Vec::new();
        for wanted in &wanted {
            let mut tensor = capture.stacked(wanted.point, &wanted.layers)?;
            if wanted.single {
                tensor = tensor.squeeze(0).map_err(Error::from)?;
            }
            kept.push((wanted.key.as_str(), Dynamic::from(Handle::lent(tensor))));
        }
        match names.as_deref() {
            Some([one]) if !is_pattern(one) && points.is_some_and(|points| points.is_string()) => {
                Ok(kept.pop().map(|(_, only)| only).unwrap_or_default())
            }
            _ => Ok(Dynamic::from(kept.into_iter().collect::<Record>())),
        }
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

/// One hook point to be recorded.
struct CapturePoint {
    /// Its key in the map that `capture` returns for several points.
    key: String,
    point: Point,
    layers: Layers,
    /// Whether one layer was given as a number, so that the result has no layer axis.
    single: bool,
}

impl CapturePoint {
    /// The points that a name stands for. A pattern stands for those that it matches and the pass
    /// reaches.
    fn read(
        name: &str,
        asked: Option<&Dynamic>,
        decoder: &Decoder,
        options: &model::Options,
    ) -> Result<Vec<Self>> {
        let named = named_like(name)?;
        if !is_pattern(name) {
            return named
                .into_iter()
                .map(|named| Self::of(name.to_owned(), named, asked, decoder))
                .collect();
        }
        let wanted = Self::reached(named, asked, decoder, options)?;
        if wanted.is_empty() {
            bail!(
                "{name:?}: this {} model has no such point, or the pass does not come there",
                decoder.spec().family
            );
        }
        Ok(wanted)
    }

    /// Every point whose tensor the pass computes even if nothing observes it.
    fn made_anyway(
        asked: Option<&Dynamic>,
        decoder: &Decoder,
        options: &model::Options,
    ) -> Result<Vec<Self>> {
        let points = Point::ALL.into_iter().filter(|point| point.is_always_computed());
        Self::reached(
            points.map(|point| PointName { point, layer: None, rotary: None }),
            asked,
            decoder,
            options,
        )
    }

    /// The points among `named` that the model has and the pass reaches.
    fn reached(
        named: impl IntoIterator<Item = PointName>,
        asked: Option<&Dynamic>,
        decoder: &Decoder,
        options: &model::Options,
    ) -> Result<Vec<Self>> {
        let mut reached = Vec::new();
        for named in named {
            let (key, spec) = (named.point.name().to_owned(), decoder.spec());
            if named.check_family(spec.family, spec.rotary().is_some()).is_err()
                || !spec.has(named.point)
            {
                continue;
            }
            let mut wanted = Self::of(key, named, asked, decoder)?;
            let reach =
                |layer| decoder.check_site(Site { point: wanted.point, layer }, options).is_ok();
            if wanted.point.in_block() {
                let layers = wanted.layers.resolve(spec.layers)?;
                let layers: Vec<i64> = layers
                    .into_iter()
                    .filter(|&layer| reach(Some(layer)))
                    .map(|layer| layer as i64)
                    .collect();
                if !layers.is_empty() {
                    wanted.layers = Layers::Some(layers);
                    reached.push(wanted);
                }
            } else if reach(None) {
                reached.push(wanted);
            }
        }
        Ok(reached)
    }

    fn of(
        key: String,
        named: PointName,
        asked: Option<&Dynamic>,
        decoder: &Decoder,
    ) -> Result<Self> {
        let spec = decoder.spec();
        named.check_family(spec.family, spec.rotary().is_some())?;
        let asked_layers = asked
            .filter(|_| named.point.in_block())
            .map(layers)
            .transpose()?
            .unwrap_or(Layers::All);
        let layers = named.layers(asked_layers)?;
        let single =
            named.point.in_block() && (named.layer.is_some() || asked.is_some_and(Dynamic::is_int));
        Ok(Self { key, point: named.point, layers, single })
    }
}
