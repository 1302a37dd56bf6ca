//! The decoder: from token ids to logits and a loss, through every hook point.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value};

use super::attention_inputs::AttentionInputs;
use super::family::{self, Names, Reading};
use super::finite::{NotFinite, Origin};
use super::input::Input;
use super::kv_cache::{Cache, Past};
use super::load::block_weights::Blocks;
use super::load::changes::Changes;
use super::load::loader::{CheckpointNames, Placement, Weights, load};
use super::spec::{Positions, Spec};
use super::tap::{Halt, Tap};
use super::{components, loss};
use crate::hook::{Observer, Point, Site, SiteSet, Unobserved};
use crate::kernel::differentiable::is_without_graph;
use crate::kernel::lookup::lookup;
use crate::kernel::sum::sum;
use crate::system::interrupt;
use crate::tensor::WeightSource;
use crate::{Result, bail, error};

/// A language model of any family, with its weights. A clone shares the weights.
#[derive(Clone)]
pub struct Decoder {
    pub(super) spec: Spec,
    pub(super) names: Arc<Names>,
    /// The weights, but for those that come from `changes.tracked`. A pass takes
    /// [`weights`](Self::weights).
    pub(super) stored: Weights,
    pub(super) changes: Changes,
    pub(super) dtype: DType,
    pub(super) device: Device,
}

/// Which logits a pass computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Logits {
    /// [b, n, v]
    #[default]
    All,
    /// [b, 1, v], at each row's last real token.
    Last,
    /// None, unless a loss needs them.
    None,
}

/// The options of a pass.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which logits to compute.
    pub logits: Logits,
    /// Whether to compute the next-token cross-entropy.
    pub loss: bool,
    /// End the pass after this site and its hooks.
    pub stop: Option<Site>,
    /// Permit more tokens than the model's `max_positions`, if its kind of positions allows it.
    pub beyond: bool,
    /// Begin at a block with a stream of the caller's. An observer that wants an earlier site is an
    /// error.
    pub start: Option<Start>,
    /// Begin at a block with the stream that entered it in an earlier pass of the same input and
    /// hooks. The observer may want earlier sites: it has seen them in that pass.
    pub resume: Option<Start>,
    /// Examine every point for numbers that are not finite, instead of the places between blocks.
    pub check_finite: bool,
    /// Gradients are taken of the pass: a model of a half type, in which they would overflow or
    /// vanish, computes in float32.
    pub gradients: bool,
    /// Compute blocks again on the way back instead of keeping what they computed, as far as no hook
    /// and no capture is within them.
    pub checkpoint: bool,
}

/// A residual stream and the block that it enters.
#[derive(Debug, Clone)]
pub struct Start {
    /// The block's index; the number of blocks means the end of the last block.
    pub layer: usize,
    /// [b, n, d]
    pub stream: Tensor,
}

/// The results of a pass.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// [b, n, v] in the model's dtype, or [b, 1, v] with [`Logits::Last`].
    pub logits: Option<Tensor>,
    /// The mean of the unreduced loss over the real targets, a scalar.
    pub loss: Option<Tensor>,
    /// The loss of each next token, [b, n-1], float32; 0 where the target is not real.
    pub unreduced_loss: Option<Tensor>,
    /// How many targets are real: the unreduced loss's sum divided by it is the loss.
    pub targets: Option<usize>,
    /// The tensor at the site where the pass was asked to stop, after its hooks.
    pub stopped: Option<Tensor>,
    /// The first NaN or infinity that the pass made of finite numbers, as far as it was examined.
    pub not_finite: Option<NotFinite>,
}

impl Decoder {
    /// Reads a config.json and loads the weights from `source`, in `dtype` to `device`.
    ///
    /// # Errors
    /// The family or a field is not supported, or a weight is missing or has a wrong shape.
    pub fn load(
        config: &Map<String, Value>,
        source: &dyn WeightSource,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        Self::placed(config, source, dtype, device, Placement::Resident)
    }

    /// As [`load`](Self::load), but the blocks' weights stay in host memory, and each block's are
    /// copied to the device while the block before it computes.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub fn offloaded(
        config: &Map<String, Value>,
        source: &dyn WeightSource,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        Self::placed(config, source, dtype, device, Placement::Offloaded)
    }

    fn placed(
        config: &Map<String, Value>,
        source: &dyn WeightSource,
        dtype: DType,
        device: &Device,
        placement: Placement,
    ) -> Result<Self> {
        let reading = family::read(config)?;
        reading.say();
        let Reading { mut spec, names, .. } = reading;
        let stored = load(&mut spec, &names, source, dtype, device, placement)?;
        let (names, changes) = (Arc::new(names), Changes::default());
        Ok(Self { spec, names, stored, changes, dtype, device: device.clone() })
    }

    /// Whether the blocks' weights are in host memory, and copied to the device during a pass.
    pub fn is_offloaded(&self) -> bool {
        matches!(self.stored.blocks, Blocks::Offloaded(_))
    }

    /// What the config determines.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The dtype of weights and activations.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The device that computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What the names of the checkpoint's tensors stand for.
    pub fn checkpoint_names(&self) -> &CheckpointNames {
        &self.stored.names
    }

    /// Runs a forward pass. `observer` sees the tensors at the sites that it wants, and may replace
    /// them.
    ///
    /// # Errors
    /// Before anything runs: the model cannot read the input, or the observer wants a site that the
    /// model does not have or that a pass with these options does not reach. Later: the observer's
    /// errors.
    pub fn forward(
        &self,
        input: &Input,
        options: &Options,
        observer: &mut dyn Observer,
    ) -> Result<Output> {
        self.run(input, None, options, observer)
    }

    /// Runs a forward pass over the tokens of `input` that are not in `cache`, and adds them to it.
    /// Hooks see those tokens only, except at points whose shape has m (keys, values, scores), where
    /// they see the cached ones too.
    ///
    /// # Errors
    /// Those of [`forward`](Self::forward), or every token is in the cache already.
    pub fn extend(
        &self,
        input: &Input,
        cache: &mut Cache,
        options: &Options,
        observer: &mut dyn Observer,
    ) -> Result<Output> {
        let rest = cache.rest_of(input);
        if rest.is_empty() {
            bail!("the cache holds every token of the input already");
        }
        self.run(&rest, Some(cache), options, observer)
    }

    fn run(
        &self,
        input: &Input,
        cache: Option<&mut Cache>,
        options: &Options,
        observer: &mut dyn Observer,
    ) -> Result<Output> {
        input.check(&self.spec, options.beyond)?;
        let mut wanted = observer.sites(self.spec.layers)?;
        wanted
            .retain_in_all(|point, layer| self.spec.has_at(point, layer) || !self.spec.has(point));
        self.check(&wanted, input, options)?;
        let mut tap = Tap::new(observer, wanted, options);
        let output = match self.pass(input, cache, options, &mut tap) {
            Ok(output) => output,
            Err(Halt::Stopped(x)) => Output { stopped: Some(x), ..Output::default() },
            Err(Halt::Failed(error)) => return Err(error),
        };
        Ok(Output { not_finite: tap.watch.found(), ..output })
    }

    fn pass(
        &self,
        input: &Input,
        mut cache: Option<&mut Cache>,
        options: &Options,
        tap: &mut Tap,
    ) -> Result<Output, Halt> {
        let dtype = self.dtype_of_pass(options);
        let weights = &*self.weights()?;
        let (first, mut x) = match options.resume.as_ref().or(options.start.as_ref()) {
            Some(start) => {
                let stream = self.on_stream(&start.stream, "a block", dtype)?;
                tap.watch.begin(&stream)?;
                (start.layer, stream)
            }
            None => (0, self.embed(weights, input, dtype, tap)?),
        };
        let attention_inputs = AttentionInputs::new(&self.spec, input, dtype, &self.device)?;
        for layer in first..weights.blocks.len() {
            interrupt::check_run()?;
            tap.boundary(layer, &x)?;
            tap.layer = Some(layer);
            let block = weights.blocks.layer(layer)?;
            let inputs = attention_inputs.layer(layer);
            let past = cache.as_mut().map_or(Past::NONE, |cache| cache.layer(layer));
            let entered = tap.watch.enter(&x);
            x = block.forward(x, inputs, past, tap)?;
            if is_without_graph() {
                x = x.detach();
            }
            if let Some(entered) = entered
                && let Some(kind) = tap.watch.leave(&x)?
            {
                let hooked = tap.watch.changed();
                // Running the block again finds the point, but not if hooks changed it (they are not
                // to be called twice) or a cache has the block's keys already.
                let can_run_again = !hooked && cache.is_none();
                let found = can_run_again
                    .then(|| components::first_not_finite(&block, layer, entered, inputs))
                    .transpose()?
                    .flatten();
                let within = NotFinite { kind, place: Origin::Within { layer, hooked } };
                tap.watch.say(found.unwrap_or(within));
            }
        }
        tap.layer = None;
        tap.boundary(weights.blocks.len(), &x)?;
        if let Some(norm) = &weights.final_norm {
            (x, _) = norm.forward(&x, &[Point::FinalNormScale], tap)?;
        }
        let x = tap.at(Point::PostFinalLayerNorm, x)?;
        self.read_out(weights, x, input, options, tap)
    }

    /// The dtype in which a pass computes. Variables of a half model are float32.
    pub fn dtype_of_pass(&self, options: &Options) -> DType {
        match self.dtype {
            DType::F16 | DType::BF16 if options.gradients || self.has_variables() => DType::F32,
            dtype => dtype,
        }
    }

    /// The embeddings, [b, n, d] in `dtype`: what enters block 0.
    fn embed(
        &self,
        weights: &Weights,
        input: &Input,
        dtype: DType,
        tap: &mut Tap,
    ) -> Result<Tensor, Halt> {
        let ids = input.ids(&self.device)?;
        let mut x = lookup(&weights.token_embeddings, &ids)?.to_dtype(dtype)?;
        if let Some(scale) = self.spec.embedding_scale {
            x = (x * scale)?;
        }
        let mut x = tap.at(Point::PostTokEmbeddings, x)?;
        if let Some(project_in) = &weights.project_in {
            x = project_in.forward(&x)?;
        }
        if let (Positions::Learned { offset }, Some(table)) =
            (&self.spec.positions, &weights.position_embeddings)
        {
            let positions = input.table_positions(*offset, &self.device)?;
            x = sum(&x, &lookup(table, &positions)?.to_dtype(dtype)?)?;
        }
        if let Some(norm) = &weights.embedding_norm {
            x = norm.plain(&x)?;
        }
        tap.at(Point::PostPosEmbeddings, x)
    }

    /// Logits and loss, as far as they are asked for, of the final norm's output x [b, n, d].
    fn read_out(
        &self,
        weights: &Weights,
        x: Tensor,
        input: &Input,
        options: &Options,
        tap: &mut Tap,
    ) -> Result<Output, Halt> {
        if options.logits == Logits::None && !options.loss {
            return Ok(Output::default());
        }
        let last_alone = options.logits == Logits::Last && !options.loss;
        let x = if last_alone { at_last(&x, input)? } else { x };
        let logits = tap.at(Point::Logits, self.to_logits(weights, &x)?)?;
        let mut output = Output::default();
        if options.loss {
            let unreduced = tap.at(Point::UnreducedLoss, loss::unreduced(&logits, input)?)?;
            // Hooks may have changed entries whose target is padding.
            let unreduced = loss::of_real_targets(&unreduced, input)?;
            output.loss = Some(loss::mean(&unreduced, input)?);
            output.unreduced_loss = Some(unreduced);
            output.targets = Some(input.targets());
        }
        output.logits = match options.logits {
            Logits::None => None,
            Logits::Last if !last_alone => Some(at_last(&logits, input)?),
            _ => Some(logits),
        };
        Ok(output)
    }

    /// Checks the options, and that a pass reaches the wanted sites and the one where it is to stop.
    fn check(&self, wanted: &SiteSet, input: &Input, options: &Options) -> Result<()> {
        if let Some(start) = &options.start {
            self.check_stream(&start.stream, input)?;
        }
        wanted.iter().chain(options.stop).try_for_each(|site| self.check_site(site, options))?;
        if options.loss && options.stop.is_some_and(|stop| stop.point != Point::UnreducedLoss) {
            bail!("a pass that stops before the logits has no loss");
        }
        Ok(())
    }

    /// Checks that the model has the site and that a pass with these options reaches it.
    ///
    /// # Errors
    /// The model lacks the point or the layer; the pass begins after the site, stops before it, or
    /// is not asked for logits or a loss.
    pub fn check_site(&self, site: Site, options: &Options) -> Result<()> {
        let (family, point) = (self.spec.family, site.point);
        if let Some(layer) = site.layer.filter(|layer| *layer >= self.spec.layers) {
            bail!("there is no layer {layer}: the model has {}", self.spec.layers);
        }
        if let Some(why) = self.spec.why_absent(point) {
            bail!("this {family} model has no {point}: {why}");
        }
        if let Some(layer) = site.layer
            && let Some(why) = self.spec.why_absent_at(point, layer)
        {
            return Err(error!("layer {layer} of this {family} model has no {point}: {why}")
                .help(format!("layers that have it: {:?}", self.spec.layers_with(point))));
        }
        if let Some(start) = &options.start {
            let start = Site { point: Point::PreBlock, layer: Some(start.layer) };
            if self.comes_after(start, site) {
                let what = if options.stop == Some(site) {
                    "it would never stop"
                } else {
                    "its hook would never run"
                };
                bail!("{site} comes before {start}, where the pass is to begin: {what}");
            }
        }
        if point == Point::UnreducedLoss && !options.loss {
            return Err(error!("{point} is reached only where a loss is asked for")
                .help("pass #{loss: true} to forward"));
        }
        if point == Point::Logits && options.logits == Logits::None && !options.loss {
            return Err(
                error!("{point} are not made in this pass").help("leave out #{logits: \"none\"}")
            );
        }
        if let Some(stop) = options.stop
            && self.comes_after(site, stop)
        {
            bail!("{site} comes after {stop}, where the pass is to stop: its hook would never run");
        }
        Ok(())
    }

    /// Whether a pass reaches `site` after `stop`.
    fn comes_after(&self, site: Site, stop: Site) -> bool {
        let place = |site: Site| (site.point.part(), site.layer, self.spec.order(site.point));
        place(site) > place(stop)
    }

    /// The logits [b, n, v] of a pass without hooks.
    ///
    /// # Errors
    /// The model cannot read the input.
    pub fn logits(&self, input: &Input) -> Result<Tensor> {
        let output = self.forward(input, &Options::default(), &mut Unobserved)?;
        output.logits.ok_or_else(|| error!("the pass made no logits"))
    }
}

/// The entries at each row's last real token: [b, n, ..] to [b, 1, ..].
fn at_last(x: &Tensor, input: &Input) -> Result<Tensor> {
    let rows = input
        .last()
        .into_iter()
        .enumerate()
        .map(|(row, last)| x.narrow(0, row, 1)?.narrow(1, last as usize, 1));
    Ok(Tensor::cat(&rows.collect::<candle_core::Result<Vec<_>>>()?, 0)?)
}
