//! The decoder: token ids to logits, through every hook point.

use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value};

use super::attention_inputs::Frames;
use super::family::Family;
use super::finite::{NotFinite, Place};
use super::input::Input;
use super::kv_cache::{Cache, Past};
use super::load::block_weights::Blocks;
use super::load::loader::{Placement, Weights, load};
use super::pass::{Halt, Tap};
use super::spec::{Positions, Spec};
use super::{loss, parts};
use crate::hook::{Observer, Point, Site, SiteSet, Unobserved};
use crate::system::interrupt;
use crate::tensor::WeightSource;
use crate::{Result, bail, error};

/// A language model of any family.
pub struct Decoder {
    spec: Spec,
    pub(super) weights: Weights,
    dtype: DType,
    device: Device,
}

/// Which logits a pass makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Logits {
    /// [b, n, v]
    #[default]
    All,
    /// [b, 1, v], at each row's last real token.
    Last,
    None,
}

/// What a pass is asked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub logits: Logits,
    /// Next-token cross-entropy.
    pub loss: bool,
    /// End after this site and its hooks.
    pub stop: Option<Site>,
    /// Read more tokens than the model has positions for, where it can.
    pub beyond: bool,
    /// Begin at a block, with this stream. Nothing may look at what comes before.
    pub start: Option<Start>,
    /// Begin at a block, with what entered it in an earlier pass like this one: the observer knows
    /// what it would have seen before.
    pub resume: Option<Start>,
    /// Look for what is no finite number at every point, and not just where blocks meet.
    pub check_finite: bool,
}

/// The residual stream as it enters a block; after the last one, where `layer` is their count.
#[derive(Debug, Clone)]
pub struct Start {
    pub layer: usize,
    /// [b, n, d]
    pub stream: Tensor,
}

/// What a pass gave.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// [b, n, v], or [b, 1, v] where only the last were asked for.
    pub logits: Option<Tensor>,
    /// A scalar: the mean over real targets.
    pub loss: Option<Tensor>,
    /// [b, n-1], float32, 0 at targets that are not real.
    pub unreduced_loss: Option<Tensor>,
    /// How many targets are real: the sum of the unreduced loss over them is the loss.
    pub targets: Option<usize>,
    /// What stood where the pass was asked to stop.
    pub stopped: Option<Tensor>,
    /// Where the pass first had what is no finite number, of finite ones.
    pub not_finite: Option<NotFinite>,
}

impl Decoder {
    /// Reads a config and loads the weights it asks for.
    ///
    /// # Errors
    /// A family or field that is not supported, a weight that is missing or of another shape.
    pub fn load(
        config: &Map<String, Value>,
        source: &dyn WeightSource,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        Self::placed(config, source, dtype, device, Placement::Resident)
    }

    /// As [`load`](Self::load), with the blocks' weights in host memory: each block's are copied to
    /// the device while the one before it computes.
    ///
    /// # Errors
    /// As [`load`](Self::load).
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
        let (spec, names) = Family::of(config)?.read(config)?;
        let weights = load(&spec, &names, source, dtype, device, placement)?;
        Ok(Self { spec, weights, dtype, device: device.clone() })
    }

    /// Whether the blocks' weights are in host memory.
    pub fn is_offloaded(&self) -> bool {
        matches!(self.weights.blocks, Blocks::Offloaded(_))
    }

    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The checkpoint's tensors that this family has no use for (masks and rotary tables aside).
    pub fn unused_weights(&self) -> &[String] {
        &self.weights.unused
    }

    /// One pass. `observer` sees, and may change, what stands at the points it wants.
    ///
    /// # Errors
    /// A site or option that this model or this pass does not have, before anything runs; an input
    /// the model cannot read; whatever the observer says.
    pub fn forward(
        &self,
        input: &Input,
        options: &Options,
        observer: &mut dyn Observer,
    ) -> Result<Output> {
        self.run(input, None, options, observer)
    }

    /// A pass over the tokens of `input` that `cache` does not hold, which it holds afterwards.
    /// Hooks see those tokens, and where keys are attended to the cached ones too.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); no token that is not cached.
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
        let wanted = observer.sites(self.spec.layers)?;
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
        let (first, mut x) = match options.resume.as_ref().or(options.start.as_ref()) {
            Some(start) => {
                let stream = self.on_stream(&start.stream, "a block")?;
                tap.watch.begin(&stream)?;
                (start.layer, stream)
            }
            None => (0, self.embed(input, tap)?),
        };
        let frames = Frames::new(&self.spec, input, self.dtype, &self.device)?;
        for layer in first..self.weights.blocks.len() {
            interrupt::check_run()?;
            tap.boundary(layer, &x)?;
            tap.layer = Some(layer);
            let block = self.weights.blocks.layer(layer)?;
            let frame = frames.layer(layer);
            let past = cache.as_mut().map_or(Past::NONE, |cache| cache.layer(layer));
            let entered = tap.watch.enter(&x);
            x = block.forward(x, frame, past, tap)?;
            if let Some(entered) = entered
                && let Some(kind) = tap.watch.leave(&x)?
            {
                let hooked = tap.watch.changed();
                // A cache has grown by the block's keys, and a hook is not to be called twice.
                let again = !hooked && cache.is_none();
                let found = again
                    .then(|| parts::find_in(&block, layer, entered, frame))
                    .transpose()?
                    .flatten();
                let within = NotFinite { kind, place: Place::Within { layer, hooked } };
                tap.watch.say(found.unwrap_or(within));
            }
        }
        tap.layer = None;
        tap.boundary(self.weights.blocks.len(), &x)?;
        if let Some(norm) = &self.weights.final_norm {
            x = norm.forward(&x, &[Point::FinalNormScale], tap)?;
        }
        let x = tap.at(Point::PostFinalLayerNorm, x)?;
        self.read_out(x, input, options, tap)
    }

    /// What enters block 0, [b, n, d].
    fn embed(&self, input: &Input, tap: &mut Tap) -> Result<Tensor, Halt> {
        let mut x = lookup(&self.weights.token_embeddings, &input.ids(&self.device)?)?;
        if let Some(scale) = self.spec.embedding_scale {
            x = (x * scale)?;
        }
        let mut x = tap.at(Point::PostTokEmbeddings, x)?;
        if let Some(project_in) = &self.weights.project_in {
            x = project_in.forward(&x)?;
        }
        if let (Positions::Learned { offset }, Some(table)) =
            (&self.spec.positions, &self.weights.position_embeddings)
        {
            x = (x + lookup(table, &input.table_positions(*offset, &self.device)?)?)?;
        }
        if let Some(norm) = &self.weights.embedding_norm {
            x = norm.plain(&x)?;
        }
        tap.at(Point::PostPosEmbeddings, x)
    }

    /// Logits and loss of the final norm's output x [b, n, d].
    fn read_out(
        &self,
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
        let logits = tap.at(Point::Logits, self.unembed(&x)?)?;
        let mut output = Output::default();
        if options.loss {
            let unreduced = tap.at(Point::UnreducedLoss, loss::unreduced(&logits, input)?)?;
            // Whatever hooks left where no target is real does not count.
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

    /// Whether this model has the sites, and this pass reaches them.
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

    fn comes_after(&self, site: Site, stop: Site) -> bool {
        let place = |site: Site| (site.point.part(), site.layer, self.spec.order(site.point));
        place(site) > place(stop)
    }

    /// A pass with nobody looking.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn logits(&self, input: &Input) -> Result<Tensor> {
        let output = self.forward(input, &Options::default(), &mut Unobserved)?;
        output.logits.ok_or_else(|| error!("the pass made no logits"))
    }
}

/// Rows of a table [rows, d] by indices [b, n].
fn lookup(table: &Tensor, indices: &Tensor) -> Result<Tensor> {
    let (b, n) = indices.dims2()?;
    Ok(table.index_select(&indices.flatten_all()?, 0)?.reshape((b, n, ()))?)
}

/// [b, n, ..] to [b, 1, ..], at each row's last real token.
fn at_last(x: &Tensor, input: &Input) -> Result<Tensor> {
    let rows = input
        .last()
        .into_iter()
        .enumerate()
        .map(|(row, last)| x.narrow(0, row, 1)?.narrow(1, last as usize, 1));
    Ok(Tensor::cat(&rows.collect::<candle_core::Result<Vec<_>>>()?, 0)?)
}
