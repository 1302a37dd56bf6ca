//! `model(id)` and what a script does with a model.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use candle_core::{DType, Device, Tensor};
use rhai::{Dynamic, Engine, Map, NativeCallContext};

use super::context::{Context, Serving};
use super::error::ScriptResult;
use super::hook::{Script, layers, point_names};
use super::options::Options;
use super::session::Settings;
use super::tensor::Handle;
use crate::checkpoint::{Checkpoint, Open};
use crate::hook::{Capture, Chain, Layers, Named, Observer, Point, Site, Unobserved};
use crate::model::{self, Decoder, Input, Logits};
use crate::notice::notice;
use crate::output::record;
use crate::tensor::dtype::Kind;
use crate::tensor::{Value, device};
use crate::{Error, Result, bail, error};

/// How deep passes may nest, each started by a hook of the one around it.
const DEEPEST: usize = 16;

/// The models of this process, each loaded once.
pub struct Models {
    settings: Settings,
    loaded: RefCell<Vec<(Key, Model)>>,
    depth: Cell<usize>,
}

#[derive(Clone, PartialEq)]
struct Key {
    id: String,
    revision: Option<String>,
    device: String,
    dtype: DType,
}

/// A loaded model. A clone is the same model.
#[derive(Clone)]
pub struct Model(Rc<Loaded>);

/// A checkpoint and the decoder made of it.
pub struct Loaded {
    pub checkpoint: Checkpoint,
    pub decoder: Decoder,
    config: Map,
}

impl Models {
    /// What the command line says about models wins over what the script says.
    pub fn new(settings: Settings) -> Self {
        Self { settings, loaded: RefCell::default(), depth: Cell::new(0) }
    }

    /// Every model loaded so far, in order.
    pub fn loaded(&self) -> Vec<Model> {
        self.loaded.borrow().iter().map(|(_, model)| model.clone()).collect()
    }

    fn load(&self, id: &str, options: Map) -> Result<Model> {
        let options = Options::new("model", options, &["device", "dtype", "revision"])?;
        let written = |name: &str| options.string(name).map(|value| value.map(|value| value.to_string()));
        let id = self.settings.model.clone().unwrap_or_else(|| id.to_owned());
        let wanted_device = self.settings.device.clone().or(written("device")?).unwrap_or_else(|| "cpu".into());
        let wanted_dtype = self.settings.dtype.clone().or(written("dtype")?).unwrap_or_else(|| "f32".into());
        let key = Key { id, revision: written("revision")?, device: wanted_device, dtype: float_dtype(&wanted_dtype)? };
        if let Some((_, model)) = self.loaded.borrow().iter().find(|(known, _)| *known == key) {
            return Ok(model.clone());
        }
        let model = Model::open(&key, self.settings.offline)?;
        self.loaded.borrow_mut().push((key, model.clone()));
        Ok(model)
    }

    fn nest(&self) -> Result<Nested<'_>> {
        if self.depth.get() >= DEEPEST {
            bail!("passes are nested {DEEPEST} deep, each started by a hook of the one around it");
        }
        self.depth.set(self.depth.get() + 1);
        Ok(Nested(&self.depth))
    }
}

struct Nested<'a>(&'a Cell<usize>);

impl Drop for Nested<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The dtype that a model computes in.
///
/// # Errors
/// A name that is no float dtype's.
pub fn float_dtype(name: &str) -> Result<DType> {
    match name {
        "f32" => Ok(DType::F32),
        "f16" => Ok(DType::F16),
        "bf16" => Ok(DType::BF16),
        "f64" => Ok(DType::F64),
        _ => Err(error!("a model can't compute in {name:?}").help("dtype is one of f32, f16, bf16, f64")),
    }
}

impl Model {
    fn open(key: &Key, offline: bool) -> Result<Self> {
        let device = device::parse(&key.device)?;
        let open = Open { revision: key.revision.clone(), offline, ..Open::default() };
        let checkpoint = Checkpoint::open(&key.id, &open)?;
        let decoder = Decoder::load(&checkpoint.config, &checkpoint.weights, key.dtype, &device)
            .map_err(|error| error.at(&key.id))?;
        let unused = decoder.unused_weights();
        if !unused.is_empty() {
            notice(format_args!("warning: {} has weights that its family does not use: {}", key.id, list(unused)));
        }
        let config = config_map(&checkpoint, &decoder);
        Ok(Self(Rc::new(Loaded { checkpoint, decoder, config })))
    }

    pub fn loaded(&self) -> &Loaded {
        &self.0
    }

    /// What run.json says of the model.
    pub fn record(&self) -> record::Model {
        let Loaded { checkpoint, decoder, .. } = self.loaded();
        record::Model {
            id: checkpoint.id.clone(),
            revision: checkpoint.revision.clone(),
            device: device::name(decoder.device()),
            dtype: Kind::from_candle(decoder.dtype()).name().into(),
        }
    }
}

fn list(names: &[String]) -> String {
    match names.len() {
        0..=4 => names.join(", "),
        more => format!("{} and {} more", names[..3].join(", "), more - 3),
    }
}

/// The checkpoint's config, with the fields that every family has by one name.
fn config_map(checkpoint: &Checkpoint, decoder: &Decoder) -> Map {
    let spec = decoder.spec();
    let json = serde_json::Value::Object(checkpoint.config.clone());
    let mut map: Map = rhai::serde::to_dynamic(json).ok().and_then(Dynamic::try_cast).unwrap_or_default();
    let sizes = [
        ("num_hidden_layers", spec.layers),
        ("hidden_size", spec.hidden),
        ("num_attention_heads", spec.heads),
        ("num_key_value_heads", spec.kv_heads),
        ("head_dim", spec.head_dim),
        ("intermediate_size", spec.feed_forward),
        ("vocab_size", spec.vocabulary),
        ("max_position_embeddings", spec.max_positions),
    ];
    for (name, size) in sizes {
        map.insert(name.into(), (size as i64).into());
    }
    map.insert("model_type".into(), spec.family.into());
    map
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

/// The options of a pass, as `forward` and `capture` take them.
struct PassOptions {
    options: model::Options,
    mask: Option<Handle>,
}

impl PassOptions {
    fn read(options: &Options, layers: usize) -> Result<Self> {
        let logits = match options.string("logits")?.as_deref() {
            None | Some("all") => Logits::All,
            Some("last") => Logits::Last,
            Some("none") => Logits::None,
            Some(other) => bail!("logits must be \"all\", \"last\" or \"none\", not {other:?}"),
        };
        let stop = options.string("stop")?.map(|name| site(&name, layers)).transpose()?;
        let loss = options.bool("loss")?.unwrap_or(false);
        Ok(Self { options: model::Options { logits, loss, stop }, mask: options.tensor("mask")? })
    }
}

/// `post-mlp@3`, or the name of a point outside the blocks.
fn site(name: &str, layers: usize) -> Result<Site> {
    let named = Named::parse(name)?;
    let layer = match named.layer {
        Some(layer) => Some(Layers::one(layer).resolve(layers)?[0]),
        None if named.point.in_block() => {
            return Err(error!("stop: every block has {0}; which one?", named.point)
                .help(format!("write the layer after an @, as in {}@0", named.point)));
        }
        None => None,
    };
    Ok(Site { point: named.point, layer })
}

/// One pass of a script: the model, its input, the context's hooks, and what the caller watches besides.
struct Pass<'a> {
    call: &'a NativeCallContext<'a>,
    models: &'a Models,
    model: &'a Model,
}

impl Pass<'_> {
    fn run(
        &self,
        ids: &Handle,
        context: Option<&Context>,
        pass: &PassOptions,
        watch: &mut dyn Observer,
    ) -> ScriptResult<model::Output> {
        let loaded = self.model.loaded();
        let _nested = self.models.nest()?;
        let mask = pass.mask.clone().or_else(|| ids.mask());
        let input = Input::new(
            ids.value().real("token ids")?,
            mask.as_ref().map(|mask| mask.value().real("the mask").cloned()).transpose()?.as_ref(),
        )?;
        let Some(context) = context else {
            return Ok(loaded.decoder.forward(&input, &pass.options, watch)?);
        };
        let _serving = self.serve(context, ids, mask, &input)?;
        let spec = loaded.decoder.spec();
        let mut script = Script::new(self.call.engine(), context, spec.family, spec.rotary().is_some());
        let result = Chain::new(&mut script, watch, spec.layers)
            .and_then(|mut chain| loaded.decoder.forward(&input, &pass.options, &mut chain));
        result.map_err(|error| script.failure(error, self.call))
    }

    /// Sets the keys that the pass owns.
    fn serve(&self, context: &Context, ids: &Handle, mask: Option<Handle>, input: &Input) -> Result<Serving> {
        let serving = context.enter()?;
        context.set_reserved("config", self.model.loaded().config.clone().into());
        context.set_reserved("ids", Dynamic::from(ids.clone()));
        let mask = match mask {
            Some(mask) => mask,
            None => Handle::fresh(Value::Bool(input.mask(&Device::Cpu)?)),
        };
        context.set_reserved("mask", Dynamic::from(mask));
        let positions = input.positions(&Device::Cpu)?.to_dtype(DType::I64)?;
        context.set_reserved("positions", Dynamic::from(Handle::from(positions)));
        Ok(serving)
    }

    fn forward(&self, ids: &Handle, context: Option<&Context>, options: Map) -> ScriptResult<Output> {
        let options = Options::new("forward", options, &["loss", "logits", "stop", "mask"])?;
        let pass = PassOptions::read(&options, self.model.loaded().decoder.spec().layers)?;
        Ok(Output(Rc::new(self.run(ids, context, &pass, &mut Unobserved)?)))
    }

    fn capture(
        &self,
        ids: &Handle,
        points: &Dynamic,
        context: Option<&Context>,
        options: Map,
    ) -> ScriptResult<Dynamic> {
        let decoder = &self.model.loaded().decoder;
        let options = Options::new("capture", options, &["layers", "mask", "stop", "logits", "loss"])?;
        let mut pass = PassOptions::read(&options, decoder.spec().layers)?;
        let asked = options.get("layers");
        let names = point_names(points)?;
        let wanted =
            names.iter().map(|name| Wanted::read(name, asked.as_ref(), decoder)).collect::<Result<Vec<_>>>()?;
        pass.options.loss |= wanted.iter().any(|wanted| wanted.point == Point::UnreducedLoss);
        if options.get("logits").is_none() && !wanted.iter().any(|wanted| wanted.point == Point::Logits) {
            pass.options.logits = Logits::None;
        }
        let mut captures: Vec<Capture> = wanted.iter().map(Wanted::capture).collect();
        let mut all = All(&mut captures, Vec::new());
        self.run(ids, context, &pass, &mut all)?;

        let mut kept = Map::new();
        for (name, (wanted, capture)) in names.iter().zip(wanted.iter().zip(&captures)) {
            let mut tensor = capture.stacked(wanted.point, decoder.spec().layers)?;
            if wanted.single {
                tensor = tensor.squeeze(0).map_err(Error::from)?;
            }
            kept.insert(name.into(), Dynamic::from(Handle::lent(tensor)));
        }
        match points.is_string() {
            true => Ok(kept.into_values().next().unwrap_or_default()),
            false => Ok(kept.into()),
        }
    }
}

/// One point that `capture` keeps.
struct Wanted {
    point: Point,
    layers: Layers,
    /// One layer given as a number: no layer axis.
    single: bool,
}

impl Wanted {
    fn read(name: &str, asked: Option<&Dynamic>, decoder: &Decoder) -> Result<Self> {
        let named = Named::parse(name)?;
        let spec = decoder.spec();
        named.check_family(spec.family, spec.rotary().is_some())?;
        let asked_layers = asked.filter(|_| named.point.in_block()).map(layers).transpose()?.unwrap_or(Layers::All);
        let layers = named.layers(asked_layers)?;
        let single = named.point.in_block() && (named.layer.is_some() || asked.is_some_and(Dynamic::is_int));
        Ok(Self { point: named.point, layers, single })
    }

    fn capture(&self) -> Capture {
        Capture::new([self.point], self.layers.clone())
    }
}

/// Several captures at once, each of its own sites.
struct All<'a>(&'a mut [Capture], Vec<crate::hook::SiteSet>);

impl Observer for All<'_> {
    fn sites(&mut self, layers: usize) -> Result<crate::hook::SiteSet> {
        let mut all = crate::hook::SiteSet::new(layers);
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

pub fn install(engine: &mut Engine, models: &Rc<Models>) {
    engine.register_type_with_name::<Model>("model");
    let own = models.clone();
    engine.register_fn("model", move |id: &str| -> ScriptResult<Model> { Ok(own.load(id, Map::new())?) });
    let own = models.clone();
    engine.register_fn("model", move |id: &str, options: Map| -> ScriptResult<Model> { Ok(own.load(id, options)?) });
    engine.register_get("config", |m: &mut Model| m.loaded().config.clone());
    engine.register_get("id", |m: &mut Model| m.loaded().checkpoint.id.clone());
    engine.register_get("device", |m: &mut Model| device::name(m.loaded().decoder.device()));
    engine.register_get("dtype", |m: &mut Model| Kind::from_candle(m.loaded().decoder.dtype()).name());
    engine.register_fn("to_string", show);
    engine.register_fn("to_debug", show);
    install_passes(engine, models);
    install_weights(engine);
    install_output(engine);
}

fn show(m: &mut Model) -> String {
    let (loaded, spec) = (m.loaded(), m.loaded().decoder.spec());
    let dtype = Kind::from_candle(loaded.decoder.dtype()).name();
    let device = device::name(loaded.decoder.device());
    format!(
        "model {} ({}, {} layers of {}, {dtype} on {device})",
        loaded.checkpoint.id, spec.family, spec.layers, spec.hidden
    )
}

/// `forward` and `capture`, with context and options left out or not.
fn install_passes(engine: &mut Engine, models: &Rc<Models>) {
    macro_rules! pass {
        ($name:literal, |$pass:ident, $ids:ident $(, $arg:ident: $typ:ty)*| -> $out:ty $body:block) => {{
            let models = models.clone();
            engine.register_fn(
                $name,
                move |call: NativeCallContext, m: &mut Model, $ids: Handle $(, $arg: $typ)*| -> ScriptResult<$out> {
                    let $pass = Pass { call: &call, models: &models, model: m };
                    $body
                },
            );
        }};
    }
    pass!("forward", |pass, ids| -> Output { pass.forward(&ids, None, Map::new()) });
    pass!("forward", |pass, ids, options: Map| -> Output { pass.forward(&ids, None, options) });
    pass!("forward", |pass, ids, ctx: Context| -> Output { pass.forward(&ids, Some(&ctx), Map::new()) });
    pass!("forward", |pass, ids, ctx: Context, options: Map| -> Output { pass.forward(&ids, Some(&ctx), options) });
    pass!("capture", |pass, ids, points: Dynamic| -> Dynamic { pass.capture(&ids, &points, None, Map::new()) });
    pass!("capture", |pass, ids, points: Dynamic, options: Map| -> Dynamic {
        pass.capture(&ids, &points, None, options)
    });
    pass!("capture", |pass, ids, points: Dynamic, ctx: Context| -> Dynamic {
        pass.capture(&ids, &points, Some(&ctx), Map::new())
    });
    pass!("capture", |pass, ids, points: Dynamic, ctx: Context, options: Map| -> Dynamic {
        pass.capture(&ids, &points, Some(&ctx), options)
    });
}

fn install_output(engine: &mut Engine) {
    engine.register_type_with_name::<Output>("output");
    engine.register_get("logits", |o: &mut Output| o.part(&o.0.logits, "logits", "it was asked not to, or stopped"));
    engine.register_get("loss", |o: &mut Output| o.part(&o.0.loss, "loss", "pass #{loss: true} to forward"));
    engine.register_get("unreduced_loss", |o: &mut Output| {
        o.part(&o.0.unreduced_loss, "loss", "pass #{loss: true} to forward")
    });
    engine.register_get("stopped", |o: &mut Output| {
        o.part(&o.0.stopped, "early stop", "pass #{stop: \"post-mlp@0\"} to forward")
    });
    let show = |o: &mut Output| {
        let shape = |name: &str, part: &Option<Tensor>| part.as_ref().map(|t| format!("{name} {:?}", t.dims()));
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

fn install_weights(engine: &mut Engine) {
    engine.register_fn("final_norm", |m: &mut Model, x: Handle| -> ScriptResult<Handle> {
        let x = x.value().real("final_norm")?.clone();
        Ok(Handle::lent(m.loaded().decoder.final_norm(&x)?))
    });
    engine.register_fn("unembed", |m: &mut Model, x: Handle| -> ScriptResult<Handle> {
        let x = x.value().real("unembed")?.clone();
        Ok(Handle::lent(m.loaded().decoder.unembed(&x)?))
    });
    engine.register_fn("weight", |m: &mut Model, name: &str| -> ScriptResult<Handle> {
        let Loaded { checkpoint, decoder, .. } = m.loaded();
        let weight = model::WeightSource::load(&checkpoint.weights, name, decoder.dtype(), decoder.device())?;
        Ok(Handle::lent(weight))
    });
    engine.register_fn("heads", |m: &mut Model, layer: i64| -> ScriptResult<Map> {
        let decoder = &m.loaded().decoder;
        let layer = Layers::one(layer).resolve(decoder.spec().layers)?[0];
        let heads = decoder.heads(layer)?;
        let parts = [
            ("w_q", heads.w_q),
            ("w_k", heads.w_k),
            ("w_v", heads.w_v),
            ("w_o", heads.w_o),
            ("b_q", heads.b_q),
            ("b_k", heads.b_k),
            ("b_v", heads.b_v),
            ("b_o", heads.b_o),
        ];
        Ok(parts.into_iter().map(|(name, tensor)| (name.into(), Dynamic::from(Handle::lent(tensor)))).collect())
    });
}
