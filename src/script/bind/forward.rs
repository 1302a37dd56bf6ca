//! `m.forward` and `m.capture`: one pass of a script through a model.

use std::cell::Cell;
use std::rc::Rc;

use candle_core::{DType, Device, Tensor};
use rhai::{Array, Dynamic, Engine, Map, NativeCallContext};

use super::context::{Context, Serving};
use super::model::{Loaded, Model};
use super::tokens::to_read;
use crate::hook::{
    Capture, Layers, Named, Observer, Point, Site, SiteSet, Unobserved, is_pattern, named_like,
};
use crate::model::{self, Decoder, Input, Logits, Start};
use crate::script::errors::error::ScriptResult;
use crate::script::errors::non_finite;
use crate::script::hook::{Hook, Reads, Script, layers, names};
use crate::script::reuse;
use crate::script::reuse::Reuse;
use crate::script::session::late_binding::Live;
use crate::script::tensor::Handle;
use crate::script::value::handed_out;
use crate::script::value::options::Options;
use crate::script::value::record::Record;
use crate::system::message::notice;
use crate::tensor::Value;
use crate::{Error, Result, bail, error};

/// How deep passes may nest, each started by a hook of the one around it.
const DEEPEST: usize = 16;

/// How many passes are under way, each within the one before.
#[derive(Clone)]
pub struct Depth(Rc<Cell<usize>>, Live);

impl Depth {
    pub fn new(live: &Live) -> Self {
        Self(Rc::default(), live.clone())
    }

    fn enter(&self) -> Result<Nested> {
        if self.0.get() >= DEEPEST {
            bail!("passes are nested {DEEPEST} deep, each started by a hook of the one around it");
        }
        self.0.set(self.0.get() + 1);
        Ok(Nested(self.clone()))
    }
}

/// One pass under way.
pub struct Nested(Depth);

impl Drop for Nested {
    fn drop(&mut self) {
        let depth = &self.0.0;
        depth.set(depth.get() - 1);
    }
}

/// What `m.forward` gives.
#[derive(Clone)]
struct Output(Rc<model::Output>);

impl Output {
    fn part(&self, part: &Option<Tensor>, name: &str, how: &str) -> ScriptResult<Handle> {
        match part {
            Some(tensor) => Ok(Handle::lent(tensor.clone())),
            None => Err(error!("this pass made no {name}").help(how).into()),
        }
    }
}

/// The names of the options that `forward` takes.
const FORWARD: &[&str] =
    &["loss", "logits", "stop", "mask", "beyond", "start", "from", "check_finite"];

/// The options of a pass, as `forward` and `capture` take them.
struct PassOptions {
    options: model::Options,
    mask: Option<Handle>,
}

impl PassOptions {
    fn read(options: &Options, model: &Loaded) -> Result<Self> {
        let layers = model.decoder.spec().layers;
        let logits = match options.string("logits")?.as_deref() {
            None | Some("all") => Logits::All,
            Some("last") => Logits::Last,
            Some("none") => Logits::None,
            Some(other) => bail!("logits must be \"all\", \"last\" or \"none\", not {other:?}"),
        };
        let stop = options.string("stop")?.map(|name| site("stop", &name, layers)).transpose()?;
        let loss = options.bool("loss")?.unwrap_or(false);
        let beyond = options.bool("beyond")?.unwrap_or(false);
        let start = start(options, layers)?;
        let check_finite = options.bool("check_finite")?.unwrap_or(model.check_finite);
        let options_of_pass =
            model::Options { logits, loss, stop, start, resume: None, beyond, check_finite };
        Ok(Self { options: options_of_pass, mask: options.tensor("mask")? })
    }
}

/// Where a pass begins, `start`, and with what, `from`.
fn start(options: &Options, layers: usize) -> Result<Option<Start>> {
    let written = "as in #{start: \"pre-block@2\", from: x}";
    match (options.string("start")?, options.tensor("from")?) {
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(error!("start says where the pass begins, and from, what stands there, is missing")
                .help(written))
        }
        (None, Some(_)) => {
            Err(error!("from is what a pass begins with, and start, where it begins, is missing")
                .help(written))
        }
        (Some(name), Some(from)) => match site("start", &name, layers)? {
            Site { point: Point::PreBlock, layer: Some(layer) } => {
                Ok(Some(Start { layer, stream: from.value().real("from")?.clone() }))
            }
            other => {
                Err(error!("a pass begins where a block does, at pre-block, and not at {other}")
                    .help(written))
            }
        },
    }
}

/// The site that an option names: `post-mlp@3`, or the name of a point outside the blocks.
fn site(option: &str, name: &str, layers: usize) -> Result<Site> {
    let named = Named::parse(name)?;
    let layer = match named.layer {
        Some(layer) => Some(Layers::one(layer).resolve(layers)?[0]),
        None if named.point.in_block() => {
            return Err(error!("{option}: every block has {0}; which one?", named.point)
                .help(format!("write the layer after an @, as in {}@0", named.point)));
        }
        None => None,
    };
    Ok(Site { point: named.point, layer })
}

/// One pass of a script: the model, its input, the context's hooks, and what the caller watches
/// besides.
pub struct Pass<'a> {
    pub call: &'a NativeCallContext<'a>,
    pub depth: &'a Depth,
    pub model: &'a Model,
}

impl Pass<'_> {
    fn run(
        &self,
        ids: &Handle,
        context: Option<&Context>,
        pass: &PassOptions,
        watch: &mut dyn Observer,
        reuse: &Reuse,
    ) -> ScriptResult<model::Output> {
        let _nested = self.enter()?;
        self.reload();
        let input = self.input(ids, pass.mask.as_ref(), pass.options.beyond)?;
        let said = |output: model::Output, hooks: &[(Hook, SiteSet)]| {
            if let Some(found) = &output.not_finite {
                non_finite::warn(found, hooks, pass.options.check_finite);
            }
            output
        };
        let Some(context) = context else {
            return Ok(said(
                reuse::run(reuse, self.model, &input, &pass.options, None, watch)?,
                &[],
            ));
        };
        let _serving = self.serve(context)?;
        let ids = seen(ids, pass.mask.as_ref(), &input)?;
        self.show(context, [ids.clone(), ids], &input, input.len())?;
        let reads = Reads { options: &pass.options, input: &input, prompt: input.len(), steps: 1 };
        let mut script = self.hooks(context, reads);
        let result = reuse::run(reuse, self.model, &input, &pass.options, Some(&mut script), watch);
        match result {
            Ok(output) => Ok(said(output, &script.bound())),
            Err(error) => Err(script.failure(error, self.call)),
        }
    }

    /// Counts the passes that are within one another.
    pub fn enter(&self) -> Result<Nested> {
        self.depth.enter()
    }

    /// Before each pass: names may have come to mean something else.
    pub fn reload(&self) {
        self.depth.1.before_pass(self.call.engine());
    }

    /// What the model is to read: `ids` with the mask that they carry, and the one that was given.
    pub fn input(&self, ids: &Handle, mask: Option<&Handle>, beyond: bool) -> Result<Input> {
        let tensor = |mask: &Handle| mask.value().real("the mask").cloned();
        let (carried, given) =
            (ids.mask().as_ref().map(tensor).transpose()?, mask.map(tensor).transpose()?);
        let input =
            Input::masked(ids.value().real("token ids")?, carried.as_ref(), given.as_ref())?;
        let spec = self.model.loaded().decoder.spec();
        if beyond && spec.goes_beyond() && input.longest() > spec.max_positions {
            let (longest, most) = (input.longest(), spec.max_positions);
            notice(format_args!(
                "warning: {longest} tokens go beyond the {most} positions that the model was made for"
            ));
        }
        Ok(input)
    }

    /// The context's hooks, to be called during a pass.
    pub fn hooks<'c>(&'c self, context: &'c Context, reads: Reads<'c>) -> Script<'c> {
        Script::new(self.call.engine(), context, &self.model.loaded().decoder, reads)
    }

    /// Takes the context for a pass, or for several in a row.
    pub fn serve(&self, context: &Context) -> Result<Serving> {
        let serving = context.enter()?;
        context.set_reserved(
            "config",
            Dynamic::from(Record::deep(self.model.loaded().config.clone())),
        );
        Ok(serving)
    }

    /// Sets the keys that say what the pass reads: the ids that it reads, all there are, and how
    /// many are the prompt's.
    pub fn show(
        &self,
        context: &Context,
        [ids, all]: [Handle; 2],
        input: &Input,
        prompt: usize,
    ) -> Result<()> {
        context.set_reserved("ids", Dynamic::from(ids));
        context.set_reserved("all_ids", Dynamic::from(all));
        context.set_reserved("prompt_len", (prompt as i64).into());
        context.set_reserved(
            "mask",
            Dynamic::from(Handle::fresh(Value::Bool(input.mask(&Device::Cpu)?))),
        );
        let positions = input.positions(&Device::Cpu)?.to_dtype(DType::I64)?;
        context.set_reserved("positions", Dynamic::from(Handle::from(positions)));
        Ok(())
    }

    fn forward(
        &self,
        reuse: &Reuse,
        ids: &Handle,
        context: Option<&Context>,
        options: Map,
    ) -> ScriptResult<Output> {
        let options = Options::new("forward", options, FORWARD)?;
        let pass = PassOptions::read(&options, self.model.loaded())?;
        Ok(Output(Rc::new(self.run(ids, context, &pass, &mut Unobserved, reuse)?)))
    }

    fn capture(
        &self,
        reuse: &Reuse,
        ids: &Handle,
        points: Option<Dynamic>,
        context: Option<&Context>,
        options: Map,
    ) -> ScriptResult<Dynamic> {
        let decoder = &self.model.loaded().decoder;
        let options = Options::new("capture", options, &[FORWARD, &["layers"]].concat())?;
        let mut pass = PassOptions::read(&options, self.model.loaded())?;
        let asked = options.get("layers");
        let names = points.as_ref().map(|points| names("capture", points)).transpose()?;
        pass.options.loss |= names.iter().flatten().any(|name| name == Point::UnreducedLoss.name());
        let wanted = match &names {
            None => Wanted::made_anyway(asked.as_ref(), decoder, &pass.options)?,
            Some(names) => {
                let wanted = names
                    .iter()
                    .map(|name| Wanted::read(name, asked.as_ref(), decoder, &pass.options));
                wanted.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect()
            }
        };
        if options.get("logits").is_none()
            && !wanted.iter().any(|wanted| wanted.point == Point::Logits)
        {
            pass.options.logits = Logits::None;
        }
        let mut captures: Vec<Capture> = wanted.iter().map(Wanted::capture).collect();
        let mut all = All(&mut captures, Vec::new());
        self.run(ids, context, &pass, &mut all, reuse)?;

        let mut kept = Vec::new();
        for (wanted, capture) in wanted.iter().zip(&captures) {
            let mut tensor = capture.stacked(wanted.point, decoder.spec().layers)?;
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

/// What hooks see as `ctx.ids`: the ids themselves, or where a mask was given, ids that carry it.
fn seen(ids: &Handle, given: Option<&Handle>, input: &Input) -> Result<Handle> {
    Ok(match given {
        Some(_) => {
            ids.twin().with_mask(Handle::fresh(Value::Bool(input.mask(ids.value().device())?)))
        }
        None => ids.clone(),
    })
}

/// One point that `capture` keeps.
struct Wanted {
    /// What it is called in the map of several.
    key: String,
    point: Point,
    layers: Layers,
    /// One layer given as a number: no layer axis.
    single: bool,
}

impl Wanted {
    /// The points that a name stands for. Of a pattern those that the pass comes to.
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

    /// Every point that the pass makes whoever looks.
    fn made_anyway(
        asked: Option<&Dynamic>,
        decoder: &Decoder,
        options: &model::Options,
    ) -> Result<Vec<Self>> {
        let points = Point::ALL.into_iter().filter(|point| point.is_made_anyway());
        Self::reached(
            points.map(|point| Named { point, layer: None, rotary: None }),
            asked,
            decoder,
            options,
        )
    }

    fn reached(
        named: impl IntoIterator<Item = Named>,
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
            let reach = |layer| decoder.reach(Site { point: wanted.point, layer }, options).is_ok();
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

    fn of(key: String, named: Named, asked: Option<&Dynamic>, decoder: &Decoder) -> Result<Self> {
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

    fn capture(&self) -> Capture {
        Capture::new([self.point], self.layers.clone())
    }
}

/// Several captures at once, each of its own sites.
struct All<'a>(&'a mut [Capture], Vec<SiteSet>);

impl Observer for All<'_> {
    fn sites(&mut self, layers: usize) -> Result<SiteSet> {
        let mut all = SiteSet::new(layers);
        self.1.clear();
        for capture in self.0.iter_mut() {
            let sites = capture.sites(layers)?;
            all.union(&sites);
            self.1.push(sites);
        }
        Ok(all)
    }

    fn observe(&mut self, site: Site, x: &Tensor) -> Result<Option<Tensor>> {
        for (capture, sites) in self.0.iter_mut().zip(&self.1) {
            if sites.contains(site) {
                capture.observe(site, x)?;
            }
        }
        Ok(None)
    }
}

/// `forward` and `capture`, with context and options left out or not.
pub fn install(engine: &mut Engine, depth: &Depth, reuse: &Reuse) {
    macro_rules! pass {
        ($name:literal, |$pass:ident, $reuse:ident, $ids:ident $(, $arg:ident: $typ:ty)*| -> $out:ty $body:block) => {{
            let (depth, own) = (depth.clone(), reuse.clone());
            engine.register_fn(
                $name,
                move |call: NativeCallContext, m: &mut Model, $ids: Dynamic $(, $arg: $typ)*| -> ScriptResult<$out> {
                    let $ids = to_read(m, $name, &$ids)?;
                    let ($pass, $reuse) = (Pass { call: &call, depth: &depth, model: m }, &own);
                    $body
                },
            );
        }};
    }
    pass!("forward", |pass, reuse, ids| -> Output { pass.forward(reuse, &ids, None, Map::new()) });
    pass!("forward", |pass, reuse, ids, options: Map| -> Output {
        pass.forward(reuse, &ids, None, options)
    });
    pass!("forward", |pass, reuse, ids, ctx: Context| -> Output {
        pass.forward(reuse, &ids, Some(&ctx), Map::new())
    });
    pass!("forward", |pass, reuse, ids, ctx: Context, options: Map| -> Output {
        pass.forward(reuse, &ids, Some(&ctx), options)
    });
    pass!("forward", |pass, reuse, ids, hooks: Array| -> Output {
        pass.forward(reuse, &ids, Some(&Context::of("forward", hooks)?), Map::new())
    });
    pass!("forward", |pass, reuse, ids, hooks: Array, options: Map| -> Output {
        pass.forward(reuse, &ids, Some(&Context::of("forward", hooks)?), options)
    });
    pass!("capture", |pass, reuse, ids| -> Dynamic {
        pass.capture(reuse, &ids, None, None, Map::new())
    });
    pass!("capture", |pass, reuse, ids, points: Dynamic| -> Dynamic {
        capture(&pass, reuse, &ids, points, Map::new())
    });
    pass!("capture", |pass, reuse, ids, points: Dynamic, options: Map| -> Dynamic {
        capture(&pass, reuse, &ids, points, options)
    });
    pass!("capture", |pass, reuse, ids, points: Dynamic, ctx: Context| -> Dynamic {
        pass.capture(reuse, &ids, Some(points), Some(&ctx), Map::new())
    });
    pass!("capture", |pass, reuse, ids, points: Dynamic, ctx: Context, options: Map| -> Dynamic {
        pass.capture(reuse, &ids, Some(points), Some(&ctx), options)
    });
    pass!("capture", |pass, reuse, ids, points: Dynamic, hooks: Array| -> Dynamic {
        pass.capture(reuse, &ids, Some(points), Some(&Context::of("capture", hooks)?), Map::new())
    });
    pass!("capture", |pass, reuse, ids, points: Dynamic, hooks: Array, options: Map| -> Dynamic {
        pass.capture(reuse, &ids, Some(points), Some(&Context::of("capture", hooks)?), options)
    });
}

/// `m.capture` with one argument besides the ids and the options, which need not be the points.
fn capture(
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

/// What a pass gave.
pub fn install_output(engine: &mut Engine) {
    engine.register_type_with_name::<Output>("output");
    const OWN: &str = "give it a name first: let y = out.logits; y[0] = 0.0;";
    handed_out::property(engine, "logits", OWN, |o: &mut Output| {
        o.part(&o.0.logits, "logits", "it was asked not to, or stopped")
    });
    handed_out::property(engine, "loss", OWN, |o: &mut Output| {
        o.part(&o.0.loss, "loss", "pass #{loss: true} to forward")
    });
    handed_out::property(engine, "unreduced_loss", OWN, |o: &mut Output| {
        o.part(&o.0.unreduced_loss, "loss", "pass #{loss: true} to forward")
    });
    engine.register_get("targets", |o: &mut Output| -> ScriptResult<i64> {
        let none = || error!("this pass made no loss").help("pass #{loss: true} to forward");
        Ok(o.0.targets.map(|targets| targets as i64).ok_or_else(none)?)
    });
    handed_out::property(engine, "stopped", OWN, |o: &mut Output| {
        o.part(&o.0.stopped, "early stop", "pass #{stop: \"post-mlp@0\"} to forward")
    });
    let show = |o: &mut Output| {
        let shape = |name: &str, part: &Option<Tensor>| {
            part.as_ref().map(|t| format!("{name} {:?}", t.dims()))
        };
        let parts = [
            shape("logits", &o.0.logits),
            shape("loss", &o.0.loss),
            shape("unreduced_loss", &o.0.unreduced_loss),
            shape("stopped", &o.0.stopped),
        ];
        format!("output of a pass: {}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    };
    engine.register_fn("to_string", show);
    engine.register_fn("to_debug", show);
}
