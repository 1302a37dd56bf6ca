//! The points that a script asks `capture` or `gradients` for, and the shape of the answer: a tensor
//! for one point, a map for several.

use candle_core::Tensor;
use rhai::Dynamic;

use crate::hook::{Layers, Point, PointName, Recorded, Site, is_pattern, named_like};
use crate::model;
use crate::model::Decoder;
use crate::script::errors::error::ScriptResult;
use crate::script::hook::{layers, point_names};
use crate::script::value::Handle;
use crate::script::value::record::Record;
use crate::{Error, Result, bail};

/// The points of one call.
pub(super) struct CapturePoints {
    points: Vec<CapturePoint>,
    /// Whether one point was named, not in an array and by no pattern: the answer is no map.
    one: bool,
}

impl CapturePoints {
    /// Reads the points that the function `call` is given: a name, a pattern, or an array of them.
    /// A pass for them computes the loss if one of them needs it.
    ///
    /// # Errors
    /// The names of no points; points that the model lacks or the pass does not reach.
    pub fn read(
        call: &str,
        points: &Dynamic,
        layers: Option<&Dynamic>,
        decoder: &Decoder,
        options: &mut model::Options,
    ) -> Result<Self> {
        let names = point_names(call, points)?;
        options.loss |= names.iter().any(|name| name == Point::UnreducedLoss.name());
        let each = names.iter().map(|name| CapturePoint::read(name, layers, decoder, options));
        let wanted = each.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        let one = points.is_string() && !names.iter().any(|name| is_pattern(name));
        Ok(Self { points: wanted, one })
    }

    /// Every point whose tensor a pass computes even if nothing observes it.
    ///
    /// # Errors
    /// The model does not have one of the layers.
    pub fn made_anyway(
        layers: Option<&Dynamic>,
        decoder: &Decoder,
        options: &model::Options,
    ) -> Result<Self> {
        let points = Point::ALL.into_iter().filter(|point| point.is_always_computed());
        let named = points.map(|point| PointName { point, layer: None, rotary: None });
        Ok(Self { points: CapturePoint::reached(named, layers, decoder, options)?, one: false })
    }

    /// Whether `point` is among them.
    pub fn has(&self, point: Point) -> bool {
        self.points.iter().any(|wanted| wanted.point == point)
    }

    /// Each point with its layers.
    pub fn places(&self) -> impl Iterator<Item = (Point, Layers)> + '_ {
        self.points.iter().map(|wanted| (wanted.point, wanted.layers.clone()))
    }

    /// The points.
    pub fn iter(&self) -> impl Iterator<Item = &CapturePoint> {
        self.points.iter()
    }

    /// What a script gets: `tensor` of the only point, or a map of it of each.
    ///
    /// # Errors
    /// Those of `tensor`.
    pub fn shaped(
        &self,
        tensor: impl Fn(&CapturePoint) -> Result<Tensor>,
    ) -> ScriptResult<Dynamic> {
        let mut kept = Vec::new();
        for point in &self.points {
            kept.push((point.key.as_str(), Dynamic::from(Handle::lent(tensor(point)?))));
        }
        if self.one {
            return Ok(kept.pop().map(|(_, only)| only).unwrap_or_default());
        }
        Ok(Dynamic::from(kept.into_iter().collect::<Record>()))
    }
}

/// One hook point to be recorded.
pub(super) struct CapturePoint {
    /// Its key in the map that `capture` returns for several points.
    key: String,
    /// The point.
    pub point: Point,
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
            // A name that means another point in this family does not name one of the pattern's.
            if named.rotary.is_some_and(|only| only != spec.rotary().is_some())
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
        let named = named.in_family(spec.family, spec.rotary().is_some())?;
        let asked_layers = asked
            .map(layers)
            .transpose()?
            .filter(|_| named.point.in_block())
            .unwrap_or(Layers::All);
        let layers = match named.layers(asked_layers)? {
            Layers::All if named.point.in_block() => {
                // A model may have a point in some of its layers alone.
                let having = spec.layers_with(named.point);
                match having.len() {
                    0 => Layers::All,
                    count if count == spec.layers => Layers::All,
                    _ => Layers::Some(having.into_iter().map(|layer| layer as i64).collect()),
                }
            }
            layers => layers,
        };
        let single =
            named.point.in_block() && (named.layer.is_some() || asked.is_some_and(Dynamic::is_int));
        Ok(Self { key, point: named.point, layers, single })
    }

    /// The tensors at the point: stacked over its layers, unless one was asked for.
    ///
    /// # Errors
    /// `missing` of the first site without a tensor.
    pub fn tensor(&self, recorded: &Recorded, missing: impl Fn(Site) -> Error) -> Result<Tensor> {
        self.without_single_axis(self.stacked(recorded, missing)?)
    }

    /// The tensors at the point, stacked over its layers.
    ///
    /// # Errors
    /// `missing` of the first site without a tensor.
    pub fn stacked(&self, recorded: &Recorded, missing: impl Fn(Site) -> Error) -> Result<Tensor> {
        recorded.stacked(self.point, &self.layers, missing)
    }

    /// A stacked tensor without the axis of layers, if one was asked for as a number.
    ///
    /// # Errors
    /// Candle's.
    pub fn without_single_axis(&self, tensor: Tensor) -> Result<Tensor> {
        Ok(if self.single { tensor.squeeze(0)? } else { tensor })
    }

    /// Its layers, as they were asked for.
    pub fn layers(&self) -> &Layers {
        &self.layers
    }
}
