//! `m.with_adapter(id)`: a model with a LoRA adapter of PEFT added to its weights.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use candle_core::{DType, Device, Tensor};
use rhai::Map;

use super::adapter_config::{AdapterConfig, is_end};
use super::parts::weight;
use crate::checkpoint::{Adapter, OpenOptions};
use crate::model::load::loader::Role;
use crate::output::record;
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::run::settings::Settings;
use crate::script::value::model::Model;
use crate::script::value::options::Options;
use crate::system::message::notice;
use crate::tensor::WeightSource;
use crate::{Result, bail, error};

/// What stands before the name of a module in an adapter's names.
const PREFIX: &str = "base_model.model.";

/// The adapters that a session has used.
pub struct Adapters {
    settings: Settings,
    used: RefCell<Vec<record::Adapter>>,
}

impl Adapters {
    /// With none used.
    pub fn new(settings: Settings) -> Self {
        Self { settings, used: RefCell::default() }
    }

    /// Starts a new run.
    pub fn begin(&self) {
        self.used.borrow_mut().clear();
    }

    /// The adapters of the run in progress.
    pub fn used(&self) -> Vec<record::Adapter> {
        self.used.borrow().clone()
    }

    fn open(&self, id: &str, revision: Option<String>) -> Result<Adapter> {
        let Settings { policy, offline, pins, .. } = &self.settings;
        policy.check_model(id)?;
        let pin = pins.iter().find(|pin| pin.id == id && pin.revision == revision);
        let options = OpenOptions {
            revision: pin.map(|pin| pin.commit.clone()).or(revision),
            offline: *offline,
            hub_id_only: policy.names_for_the_hub(id),
            ..OpenOptions::default()
        };
        Adapter::open(id, &options)
    }

    fn put_on(&self, m: &Model, id: &str, options: Map) -> Result<Model> {
        let options = Options::new("with_adapter", options, &["scale", "revision"])?;
        let scale = options.float("scale")?.unwrap_or(1.0);
        if !scale.is_finite() {
            bail!("with_adapter: scale must be a number, not {scale}");
        }
        let asked = options.string("revision")?.map(|revision| revision.to_string());
        let adapter = self.open(id, asked.clone())?;
        let changed = adapted(m, &adapter, scale).map_err(|e| e.at(id))?;
        let model = m.with_decoder(m.loaded().decoder.with_weights(changed)?);
        let Adapter { id, revision, .. } = adapter;
        let model_id = m.loaded().checkpoint.id.clone();
        self.used.borrow_mut().push(record::Adapter { id, asked, revision, model: model_id });
        Ok(model)
    }
}

/// The two factors of what is added to a module's weight.
#[derive(Default)]
struct Factors {
    /// Of a linear module [r, in]; of an embedding [r, v].
    a: Option<String>,
    /// [out, r]; of an embedding [d, r].
    b: Option<String>,
    embedding: bool,
}

/// The weights of a model that an adapter changes.
fn adapted(m: &Model, adapter: &Adapter, scale: f64) -> Result<BTreeMap<String, Tensor>> {
    let config = AdapterConfig::read(&adapter.config)?;
    let mut factors: BTreeMap<String, Factors> = BTreeMap::new();
    let mut changed: BTreeMap<String, Tensor> = BTreeMap::new();
    for name in adapter.weights.names() {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            bail!("the adapter's {name} does not begin with {PREFIX}")
        };
        let factor = [
            (".lora_A.weight", true, false),
            (".lora_B.weight", false, false),
            (".lora_embedding_A", true, true),
            (".lora_embedding_B", false, true),
        ];
        let found = factor.iter().find_map(|(ending, is_a, embedding)| {
            Some((rest.strip_suffix(ending)?, *is_a, *embedding))
        });
        if let Some((module, is_a, embedding)) = found {
            let known = factors.entry(module.to_owned()).or_default();
            known.embedding |= embedding;
            *(if is_a { &mut known.a } else { &mut known.b }) = Some(name);
            continue;
        }
        if rest.contains(".lora_") {
            bail!("the adapter has {name}, which plain LoRA does not have");
        }
        // A module that is stored whole, or the bias of one that is adapted.
        let plain = rest.replace(".base_layer.", ".").replace(".modules_to_save.", ".");
        let own = stored_name(m, &plain)?;
        let tensor = adapter.weights.load(&name, m.loaded().decoder.dtype(), &Device::Cpu)?;
        changed.insert(own, tensor.to_device(m.loaded().decoder.device())?);
    }
    if factors.is_empty() && changed.is_empty() {
        bail!("the adapter has no tensors");
    }
    let factors: Vec<(String, String, Factors)> = factors
        .into_iter()
        .map(|(module, factors)| {
            Ok((stored_name(m, &format!("{module}.weight"))?, module, factors))
        })
        .collect::<Result<_>>()?;
    check_targets(m, &config, |own| factors.iter().any(|(with, ..)| with == own))?;
    check_saved(m, &config, |own| changed.contains_key(own))?;
    for (own, module, factors) in factors {
        let before = match changed.remove(&own) {
            Some(tensor) => tensor,
            None => weight(m, &own)?,
        };
        let sum = with_factors(m, adapter, &config, &module, &own, &factors, &before, scale)?;
        changed.insert(own, sum);
    }
    Ok(changed)
}

/// Says which modules the config wants to be adapted and can't be.
///
/// # Errors
/// It names no module of the model.
fn check_targets(
    m: &Model,
    config: &AdapterConfig,
    has_factors: impl Fn(&str) -> bool,
) -> Result<()> {
    let modules: Vec<(&str, String, bool)> = modules(m).collect();
    let adapted = modules.iter().filter(|(_, module, linear)| config.adapts(module, *linear));
    let (with, without): (Vec<_>, Vec<_>) = adapted.partition(|(own, ..)| has_factors(own));
    match without.first() {
        None if with.is_empty() && !modules.iter().any(|(own, ..)| has_factors(own)) => {
            return Err(error!("adapter_config.json: target_modules name no module of the model")
                .help("is it an adapter of another model? base_model_name_or_path names its own"));
        }
        Some((_, first, _)) => notice(format_args!(
            "warning: target_modules name {first}, of which the adapter has no factors: what it \
             computes stays as it was{}",
            and_others(without.len())
        )),
        None => {}
    }
    for name in config.named_targets() {
        if !modules.iter().any(|(_, module, _)| is_end(module, name)) {
            notice(format_args!(
                "warning: target_modules name {name}, which the model does not have"
            ));
        }
    }
    Ok(())
}

fn and_others(count: usize) -> String {
    match count {
        0 | 1 => String::new(),
        2 => " (and so for another)".to_owned(),
        more => format!(" (and so for {} others)", more - 1),
    }
}

/// Checks that the modules that the config says are stored whole are.
fn check_saved(m: &Model, config: &AdapterConfig, is_stored: impl Fn(&str) -> bool) -> Result<()> {
    let names = m.loaded().decoder.checkpoint_names();
    for name in config.saved() {
        let of_module = |own: &&String| {
            let usual = m.loaded().decoder.usual_name(own);
            usual.rsplit_once('.').is_some_and(|(module, _)| is_end(module, name))
        };
        let mut own = names.used.keys().filter(of_module).peekable();
        if own.peek().is_none() {
            notice(format_args!(
                "warning: modules_to_save name {name}, which the model does not have"
            ));
        }
        if let Some(missing) = own.find(|own| !is_stored(own)) {
            bail!(
                "adapter_config.json: modules_to_save name {name}, and the adapter has no tensor \
                 in the place of {missing}"
            );
        }
    }
    Ok(())
}

/// The modules of the model that factors can be added to: the name of the weight in the checkpoint,
/// the usual name of the module, and whether it is a linear module of the blocks.
fn modules(m: &Model) -> impl Iterator<Item = (&str, String, bool)> {
    let decoder = &m.loaded().decoder;
    decoder.checkpoint_names().used.iter().filter_map(|(own, stored)| {
        let is_table = matches!(stored.role, Role::TokenEmbeddings | Role::PositionEmbeddings);
        let is_matrix = stored.role == Role::Matrix;
        let module = decoder.usual_name(own).strip_suffix(".weight")?.to_owned();
        let linear = is_matrix && !decoder.is_unembedding(own);
        (is_table || is_matrix).then_some((own.as_str(), module, linear))
    })
}

/// A module's weight with the product of its factors added.
#[allow(clippy::too_many_arguments)]
fn with_factors(
    m: &Model,
    adapter: &Adapter,
    config: &AdapterConfig,
    module: &str,
    own: &str,
    factors: &Factors,
    before: &Tensor,
    scale: f64,
) -> Result<Tensor> {
    let decoder = &m.loaded().decoder;
    let (Some(a), Some(b)) = (&factors.a, &factors.b) else {
        bail!("the adapter has one factor of {module} and not the other")
    };
    let role = decoder.checkpoint_names().used.get(own).map(|stored| stored.role);
    let linear = role == Some(Role::Matrix) && !decoder.is_unembedding(own);
    if !config.adapts(module, linear) {
        bail!("the adapter has factors of {module}, which its target_modules do not name");
    }
    // In float32 at least; the sum is rounded once.
    let wide = if before.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let load = |name: &str| -> Result<Tensor> {
        Ok(adapter.weights.load(name, wide, &Device::Cpu)?.to_device(before.device())?)
    };
    let (a, b) = (load(a)?, load(b)?);
    let rank = config.rank(module);
    let (rows, columns) = before.dims2()?;
    // An embedding's table is [v, d], and its factors are those of [d, v].
    let turned = factors.embedding || decoder.stores_input_first();
    let [out, input] = if turned { [columns, rows] } else { [rows, columns] };
    if a.dims() != [rank, input] || b.dims() != [out, rank] {
        bail!(
            "the factors of {module} are {:?} and {:?}, and its rank and the model make them {:?} and {:?}",
            a.dims(),
            b.dims(),
            [rank, input],
            [out, rank]
        );
    }
    let product = (b.matmul(&a)? * (scale * config.scale(module)))?;
    let product = if turned { product.t()?.contiguous()? } else { product };
    Ok((before.to_dtype(wide)? + product)?.to_dtype(before.dtype())?)
}

/// The checkpoint's name of a tensor that an adapter names.
fn stored_name(m: &Model, name: &str) -> Result<String> {
    let decoder = &m.loaded().decoder;
    let Some(own) = decoder.stored_name(name) else {
        return Err(error!("the adapter has a tensor for {name}, and the model has no such weight")
            .help("is it an adapter of another model? adapter_config.json names its base_model_name_or_path"));
    };
    let is_end = decoder.checkpoint_names().used[&own].role == Role::TokenEmbeddings;
    if decoder.spec().tied && (is_end || decoder.is_unembedding(&own)) {
        return Err(error!("the adapter changes one end of the model's tied embeddings, {name}, which can't be honoured")
            .help("a checkpoint that PEFT has merged it into can be loaded"));
    }
    Ok(own)
}

/// Registers `m.with_adapter`.
pub fn install(registry: &mut Registry, adapters: &Rc<Adapters>) {
    let [own, with_options] = [adapters.clone(), adapters.clone()];
    registry
        .declare(
            "with_adapter(model, id, #{scale, revision})",
            Purity::Impure("reads files"),
            OnGpu::NATIVE,
            Gradient::NoTensors,
        )
        .row(
            "the model with a LoRA adapter that PEFT wrote, a directory or a Hub id, added to its \
            weights: scale times the product of its factors",
            "let said = \"\"; try { m.with_adapter(\"demo:opt\"); } catch (e) { said = e; } said",
            "demo:opt is a model, and no adapter",
        )
        .function(move |m: &mut Model, id: &str| -> ScriptResult<Model> {
            Ok(own.put_on(m, id, Map::new())?)
        })
        .function(move |m: &mut Model, id: &str, options: Map| -> ScriptResult<Model> {
            Ok(with_options.put_on(m, id, options)?)
        });
}
