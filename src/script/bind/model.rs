//! `model(id)`: loads models and keeps them loaded.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Once;

use bytesize::ByteSize;
use candle_core::{DType, Device};
use rhai::{Dynamic, Map};

use crate::checkpoint::{self, Checkpoint, OpenOptions};
use crate::model::{Decoder, family};
use crate::script::declare::{Gradient, OnGpu, Page, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::program::model_names::{GIVEN, NamedModel};
use crate::script::run::settings::Settings;
use crate::script::value::handed_out;
use crate::script::value::model::{Loaded, Model, next_number};
use crate::script::value::options::{Options, describe};
use crate::script::value::record::Record;
use crate::system::memory;
use crate::system::memory::MachineMemory;
use crate::system::message::notice;
use crate::tensor::WeightSource;
use crate::tensor::budget::Held;
use crate::tensor::device;
use crate::tensor::dtype::Kind;
use crate::{Result, error};

/// The models that a session has loaded.
pub struct Models {
    settings: Settings,
    /// Whether `--model` replaces the models that the script names.
    stands_in: Cell<bool>,
    /// In the order in which they were loaded.
    loaded: RefCell<Vec<(Key, Model)>>,
    /// Indexes into `loaded` of the models that the run in progress asked for.
    asked: RefCell<Vec<usize>>,
    /// The names by which the script asked for models so far.
    names: RefCell<BTreeSet<String>>,
    /// The first model of the script that the one `--model ID` replaced.
    replaced: RefCell<Option<String>>,
    /// Whether `--model ID` would have replaced a second model.
    refused: Cell<bool>,
}

/// What two requests must have in common to share a loaded model.
#[derive(Clone, PartialEq)]
struct Key {
    /// The id; for a directory, its canonical path.
    place: String,
    revision: Option<String>,
    how: How,
}

/// How a model is loaded.
#[derive(Clone, PartialEq)]
struct How {
    device: String,
    dtype: DType,
    offload: bool,
}

impl Models {
    /// With no model loaded. What the settings say about models overrides what the script says.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            stands_in: Cell::new(true),
            loaded: RefCell::default(),
            asked: RefCell::default(),
            names: RefCell::default(),
            replaced: RefCell::default(),
            refused: Cell::new(false),
        }
    }

    /// Checks `--model` against the models that a script names, before it runs.
    ///
    /// # Errors
    /// See [`Substitutes::check`](crate::script::Substitutes::check).
    pub fn check(&self, named: &[NamedModel]) -> Result<()> {
        self.settings.models.check(named, &self.settings.params)
    }

    /// Checks `--model` against the models that a script asked for and the parameters that it read,
    /// after it ran.
    ///
    /// # Errors
    /// `--model NAME=ID` for a NAME that the script did not use.
    pub fn check_used(&self, params: &BTreeMap<String, Dynamic>) -> Result<()> {
        let names = self.names.borrow();
        let unused = |name: &&String| !names.contains(*name) && !params.contains_key(*name);
        let Some(name) = self.settings.models.named.keys().find(unused) else { return Ok(()) };
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        Err(error!("--model {name}=…: the script names no model {name}")
            .help(format!("it names {}", all.join(", "))))
    }

    /// Whether the script failed because `--model ID` can't replace several models.
    pub fn refused(&self) -> bool {
        self.refused.get()
    }

    /// Sets whether `--model` replaces models named from now on; in a REPL session it does not
    /// replace those that the user types. Returns the previous setting.
    pub fn stand_in(&self, stands_in: bool) -> bool {
        self.replaced.take();
        self.stands_in.replace(stands_in)
    }

    /// All loaded models, in the order in which they were loaded.
    pub fn loaded(&self) -> Vec<Model> {
        self.loaded.borrow().iter().map(|(_, model)| model.clone()).collect()
    }

    /// The models that the run in progress asked for, in the order of asking.
    pub fn asked(&self) -> Vec<Model> {
        let loaded = self.loaded.borrow();
        self.asked.borrow().iter().map(|&at| loaded[at].1.clone()).collect()
    }

    /// Starts a new run: forgets which models were asked for, and keeps them loaded.
    pub fn begin(&self) {
        self.asked.borrow_mut().clear();
        self.names.borrow_mut().clear();
        self.replaced.take();
        self.refused.set(false);
    }

    /// The id of the model to load when a script asks for `named`.
    fn substitute(&self, named: &Dynamic) -> Result<String> {
        let id = &*named.clone().into_immutable_string().map_err(|_| {
            error!("model takes the id of a model or a directory, not {}", describe(named))
                .help("as in model(\"demo:opt\")")
        })?;
        if named.tag() == GIVEN {
            return Ok(id.to_owned());
        }
        self.names.borrow_mut().insert(id.to_owned());
        if self.stands_in.get() {
            let given = self.settings.models.of(id, &mut self.replaced.borrow_mut());
            if let Some(given) = given.inspect_err(|_| self.refused.set(true))? {
                return Ok(given);
            }
        }
        self.settings.policy.check_model(id)?;
        Ok(id.to_owned())
    }

    fn load(&self, id: &Dynamic, options: Map) -> Result<Model> {
        let options = Options::new("model", options, &["device", "dtype", "offload", "revision"])?;
        let written =
            |name: &str| options.string(name).map(|value| value.map(|value| value.to_string()));
        let id = self.substitute(id)?;
        let wanted_device =
            self.settings.device.clone().or(written("device")?).unwrap_or_else(by_default);
        let wanted_dtype =
            self.settings.dtype.clone().or(written("dtype")?).unwrap_or_else(|| "f32".into());
        let device = device::parse(&wanted_device)?;
        let how = How {
            dtype: float_dtype(&wanted_dtype)?,
            offload: options.bool("offload")?.unwrap_or(false) && !device.is_cpu(),
            device: device::name(&device),
        };
        let key = Key { place: checkpoint::canonical_id(&id), revision: written("revision")?, how };
        let known = self.loaded.borrow().iter().position(|(known, model)| {
            // A directory that has been deleted has no canonical path any more.
            let gone = key.place == id && model.loaded().checkpoint.id == id;
            *known == key || (gone && known.revision == key.revision && known.how == key.how)
        });
        let at = match known {
            Some(at) => at,
            None => {
                let model = self.open(&id, &key, &device)?;
                // The directory may have changed since the key was made: what was opened counts.
                let key = Key { place: model.loaded().checkpoint.canonical_id.clone(), ..key };
                let mut loaded = self.loaded.borrow_mut();
                loaded.push((key, model));
                loaded.len() - 1
            }
        };
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&at) {
            asked.push(at);
        }
        Ok(self.loaded.borrow()[at].1.clone())
    }

    fn open(&self, id: &str, key: &Key, device: &Device) -> Result<Model> {
        let Key { revision, how, .. } = key;
        let pin = self.settings.pins.iter().find(|pin| pin.id == id && pin.revision == *revision);
        let commit = pin.map(|pin| pin.commit.clone()).or_else(|| revision.clone());
        let Settings { offline, policy, .. } = &self.settings;
        let hub_id_only = policy.names_for_the_hub(id);
        let open = OpenOptions {
            revision: commit,
            offline: *offline,
            hub_id_only,
            ..OpenOptions::default()
        };
        let readable = |config: &_| family::read(config).map(drop);
        let checkpoint = Checkpoint::judged(id, &open, readable)?;
        // A commit hash identifies the repository too, however its id is spelled.
        let is_same = |(known, model): &&(Key, Model)| {
            known.how == *how
                && checkpoint.revision.is_some()
                && model.loaded().checkpoint.revision == checkpoint.revision
        };
        let same = self.loaded.borrow().iter().find(is_same).map(|(_, model)| model.clone());
        let (number, decoder) = match same {
            Some(same) => (same.loaded().number, same.loaded().decoder.clone()),
            None => (next_number(), decoder(id, &checkpoint, how, device)?.into()),
        };
        let config = config_map(&checkpoint, &decoder);
        let check_finite = self.settings.check_finite;
        Ok(Model::new(Loaded {
            number,
            asked: revision.clone(),
            checkpoint: Rc::new(checkpoint),
            decoder,
            config,
            check_finite,
            digest: OnceCell::new(),
            held: Held::default(),
        }))
    }
}

/// Loads the decoder of a checkpoint.
fn decoder(id: &str, checkpoint: &Checkpoint, how: &How, device: &Device) -> Result<Decoder> {
    /// The peak memory of loading, in multiples of the weights' size: the weights as stored,
    /// converted, and rearranged.
    const LOADING: usize = 3;
    let (config, weights) = (&checkpoint.config, &checkpoint.weights);
    let elements = |name: &String| weights.shape(name).map_or(0, |shape| shape.iter().product());
    let elements = weights.names().iter().map(elements).fold(0, usize::saturating_add);
    let needed = elements.saturating_mul(how.dtype.size_in_bytes());
    let offload = how.offload || too_large(id, needed, device)?;
    if offload || device.is_cpu() {
        fits_machine(id, needed)?;
    }
    let decoder = memory::exclude_from_limit(needed.saturating_mul(LOADING), || match offload {
        true => Decoder::offloaded(config, weights, how.dtype, device),
        false => Decoder::load(config, weights, how.dtype, device),
    });
    let decoder = decoder.map_err(|error| error.at(id))?;
    let unused = &decoder.checkpoint_names().unused;
    if !unused.is_empty() {
        notice(format_args!(
            "warning: {id} has weights that its family does not use: {}",
            list(unused)
        ));
    }
    Ok(decoder)
}

/// # Errors
/// The weights need more than the machine's memory and swap.
fn fits_machine(id: &str, needed: usize) -> Result<()> {
    let MachineMemory { total, swap, .. } = MachineMemory::now();
    if needed as u64 <= total.saturating_add(swap) {
        return Ok(());
    }
    let size = |bytes: u64| ByteSize(bytes).display().iec();
    Err(error!(
        "the weights of {id} take {}, and this machine has {} of memory",
        size(needed as u64),
        size(total)
    )
    .help("--dtype bf16 takes half of what f32 takes"))
}

/// Whether the weights would leave too little of a GPU's memory for a pass. Then the user is told
/// that the blocks' weights stay in host memory.
fn too_large(id: &str, needed: usize, device: &Device) -> Result<bool> {
    /// The least that a pass needs besides the weights, in bytes.
    const ROOM: usize = 512 << 20;
    let Some(free) = device::free_memory(device)? else { return Ok(false) };
    let fits = needed.saturating_add(ROOM) <= free;
    if !fits {
        let size = |bytes: usize| ByteSize::b(bytes as u64).display().iec();
        notice(format_args!(
            "{id} takes {} and {} has {} free: its blocks stay in host memory, and are copied as they are needed",
            size(needed),
            device::name(device),
            size(free)
        ));
    }
    Ok(!fits)
}

/// The default device. The first call tells the user which it is, if there was a choice.
fn by_default() -> String {
    static SAID: Once = Once::new();
    let name = device::name(device::default());
    SAID.call_once(|| match device::why_not_gpu() {
        Some(cause) => notice(format_args!("models compute on {name}: {cause}")),
        None if device::GPU_BUILD => notice(format_args!("models compute on {name}")),
        None => {}
    });
    name
}

/// The dtype that a model computes in.
///
/// # Errors
/// The name is not one of f32, f16, bf16 and f64.
pub fn float_dtype(name: &str) -> Result<DType> {
    match name {
        "f32" => Ok(DType::F32),
        "f16" => Ok(DType::F16),
        "bf16" => Ok(DType::BF16),
        "f64" => Ok(DType::F64),
        _ => {
            Err(error!("a model can't compute in {name:?}")
                .help("dtype is one of f32, f16, bf16, f64"))
        }
    }
}

/// Some of the names, as a phrase.
fn list(names: &[String]) -> String {
    match names.len() {
        0..=4 => names.join(", "),
        more => format!("{} and {} more", names[..3].join(", "), more - 3),
    }
}

/// config.json, with the sizes added under names that are the same for every family.
fn config_map(checkpoint: &Checkpoint, decoder: &Decoder) -> Map {
    let spec = decoder.spec();
    let json = serde_json::Value::Object(checkpoint.config.clone());
    let mut map: Map =
        rhai::serde::to_dynamic(json).ok().and_then(Dynamic::try_cast).unwrap_or_default();
    for (name, size) in spec.sizes() {
        map.insert(name.into(), (size as i64).into());
    }
    map.insert("model_type".into(), spec.family.into());
    map
}

/// Registers `model(id)` and what a model says of itself.
pub fn install(registry: &mut Registry, models: &Rc<Models>) {
    registry.section(Page::Experiments, "Models");
    let (own, with_options) = (models.clone(), models.clone());
    registry
        .declare(
            "model(id, options)",
            Purity::Impure("loads a model"),
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "a model: demo:NAME, a directory or a Hub id, loaded once; options #{device, \
            dtype, offload, revision}; --model ID or --model NAME=ID puts another in its \
            place",
            r#"model("demo:opt").config.num_hidden_layers"#,
            "4",
        )
        .function(move |id: Dynamic| -> ScriptResult<Model> { Ok(own.load(&id, Map::new())?) })
        .function(move |id: Dynamic, options: Map| -> ScriptResult<Model> {
            Ok(with_options.load(&id, options)?)
        });
    registry.type_name::<Model>("model");
    let help = "a map of your own can be written into: let config = m.config; m.with_weights gives a model with other weights";
    let config =
        registry.declare(".config", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors).row(
            "the checkpoint's config as a map; its sizes have the same names in every \
        family; saved as config.json it is taken",
            "m.config.model_type",
            "opt",
        );
    handed_out::property(config, help, |m: &mut Model| Ok(Record::deep(m.loaded().config.clone())));
    registry
        .declare(".id", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row("what the model was asked for by", "m.id", "demo:opt")
        .get(|m: &mut Model| m.loaded().checkpoint.id.clone());
    registry
        .declare(".device", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .get(|m: &mut Model| device::name(m.loaded().decoder.device()));
    registry
        .declare(".dtype", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .get(|m: &mut Model| Kind::from_candle(m.loaded().decoder.dtype()).name());
    registry
        .declare("to_string(x)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .shown(show);
}

fn show(m: &mut Model) -> String {
    let (loaded, spec) = (m.loaded(), m.loaded().decoder.spec());
    let dtype = Kind::from_candle(loaded.decoder.dtype()).name();
    let device = device::name(loaded.decoder.device());
    let other = match loaded.decoder.changed_weights().len() {
        0 => String::new(),
        1 => ", 1 weight of its own".into(),
        many => format!(", {many} weights of its own"),
    };
    format!(
        "model {} ({}, {} layers of {}, {dtype} on {device}{other})",
        loaded.checkpoint.id, spec.family, spec.layers, spec.hidden
    )
}
