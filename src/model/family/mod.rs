//! The model families. Each is data: how its config.json becomes a [`Spec`], and the names of the
//! weights in its checkpoints. There is no forward pass here.

mod experts;
mod gated;
mod gpt;
mod initial;
mod names;
mod plain;
mod reading;
mod verified;

use std::borrow::Cow;

pub use initial::{Initial, Padding};
pub use names::{ExpertNames, ExpertsIn, MlpIn, NAMES, Names, Qkv};
use serde_json::{Map, Value};
pub use verified::{VERIFIED, Verified};

use super::load::classes::Class;
use super::load::config::Fields;
use super::load::known::HONOURED_NOWHERE;
use super::spec::Spec;
use crate::system::message::notice;
use crate::{Result, bail, error};

/// One architecture, as data.
pub struct Family {
    /// `model_type` of config.json.
    pub name: &'static str,
    /// A well-known checkpoint on the Hugging Face Hub.
    pub example: &'static str,
    /// Reads a config. It need not check that all fields were read: [`read`] does.
    pub read: fn(&Fields) -> Result<(Spec, Names)>,
}

/// What a config.json says.
pub struct Reading {
    /// The decoder that it specifies.
    pub spec: Spec,
    /// What the checkpoint calls its weights.
    pub names: Names,
    /// The fields that neither this program nor transformers reads, as `name = value`.
    pub unknown: Vec<String>,
    /// What is to be said of the model where it is loaded.
    pub notes: Vec<&'static str>,
    /// The `model_type` of the whole, if the decoder is the text half of a model of several parts.
    pub part_of: Option<String>,
}

/// Every family, in the order in which `precompute models` lists them.
pub const FAMILIES: &[Family] = &[
    plain::opt::FAMILY,
    gpt::gpt_neox::FAMILY,
    gpt::gpt2::FAMILY,
    gated::llama::LLAMA,
    gated::llama::MISTRAL,
    gated::llama::QWEN2,
    gated::llama::QWEN3,
    gated::gemma::GEMMA,
    gated::gemma::GEMMA2,
    gated::gemma::GEMMA3,
    plain::phi::FAMILY,
    gated::phi3::FAMILY,
    gpt::gptj::GPTJ,
    gated::stablelm::FAMILY,
    gated::olmo::OLMO,
    gated::olmo::OLMO2,
    gated::olmo::OLMO3,
    plain::falcon::FAMILY,
    plain::bloom::FAMILY,
    gpt::gpt_neo::FAMILY,
    gpt::gpt_bigcode::FAMILY,
    plain::starcoder2::FAMILY,
    plain::nemotron::FAMILY,
    gated::granite::FAMILY,
    gated::cohere::COHERE,
    gated::cohere::COHERE2,
    gated::glm::GLM,
    gated::glm::GLM4,
    gated::llama_like::SEED_OSS,
    gated::llama_like::ERNIE,
    gated::without_rotary::SMOLLM3,
    gated::without_rotary::EXAONE4,
    gated::llama::MINISTRAL,
    gated::llama_like::HELIUM,
    gated::llama_like::ARCEE,
    plain::persimmon::FAMILY,
    gpt::gptj::CODEGEN,
    experts::mixtral::FAMILY,
    experts::qwen_moe::QWEN2_MOE,
    experts::qwen_moe::QWEN3_MOE,
    experts::olmoe::FAMILY,
    experts::granitemoe::FAMILY,
    experts::gpt_oss::FAMILY,
    experts::glm4_moe::FAMILY,
    experts::ernie4_5_moe::FAMILY,
];

/// Reads a config: of a family, or of a model of several parts whose text half is of a family.
///
/// # Errors
/// The family is not supported; a field is missing, has a wrong type or an unsupported value, or is
/// not known and could change the result.
pub fn read(config: &Map<String, Value>) -> Result<Reading> {
    let Some(name) = config.get("model_type").and_then(Value::as_str) else {
        bail!("config.json has no model_type, so the model's family is not known")
    };
    if let Some(family) = find(name) {
        return family.read_fields(config, None);
    }
    let text = config.get("text_config").and_then(Value::as_object);
    let of_text = text.and_then(|text| Some((text, find(text.get("model_type")?.as_str()?)?)));
    let Some((text, family)) = of_text else {
        let all: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
        return Err(error!("the model family {name:?} is not supported").help(format!(
            "a family is one file under src/model/family: how config.json becomes a Spec, and what the checkpoint calls \
             each weight. Another family's reader may take the config, and give wrong numbers; supported are {}",
            all.join(", ")
        )));
    };
    // Whether the two ends are tied, and what can't be honoured, is said of the whole, if not of the
    // text half.
    let mut text = text.clone();
    let nowhere = HONOURED_NOWHERE.iter().map(|(name, _)| *name);
    for name in nowhere.chain(["tie_word_embeddings"]) {
        if let (None, Some(said)) = (text.get(name), config.get(name)) {
            text.insert(name.into(), said.clone());
        }
    }
    if config.get("is_causal").is_some_and(|said| *said != true) {
        bail!("config.json: is_causal can't be honoured beside text_config, only in it");
    }
    let reading = family.read_fields(&text, Some("text_config"))?;
    Ok(Reading { part_of: Some(name.to_owned()), ..reading })
}

impl Reading {
    /// Says on standard error what a user should know of the model before it is used.
    pub fn say(&self) {
        let Self { spec, unknown, notes, part_of, .. } = self;
        for note in notes {
            notice(format_args!("note: {note}"));
        }
        if !unknown.is_empty() {
            notice(format_args!(
                "warning: config.json has fields that are not known for {}, and that transformers does not read: {}",
                spec.family,
                unknown.join(", ")
            ));
        }
        if let Some(whole) = part_of {
            notice(format_args!(
                "note: of this {whole} model the text half alone is loaded, which is {}",
                spec.family
            ));
        }
    }
}

fn find(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.name == name)
}

impl Family {
    fn read_fields(&self, config: &Map<String, Value>, within: Option<&str>) -> Result<Reading> {
        let config = under_own_names(config, self.name)?;
        let fields = Fields::new(&config, self.name, within);
        let (spec, names) = (self.read)(&fields)?;
        let spec = directions(&fields, spec)?;
        let unknown = fields.finish(&spec.sizes())?;
        Ok(Reading { spec, names, unknown, notes: fields.notes(), part_of: None })
    }
}

/// What `is_causal` says, which transformers reads in every family: if it is false, or null, a query
/// attends to later keys too. A sliding window then reaches as many keys forward as back, and one
/// more to each side than without: its size counts the keys beside the query's own.
fn directions(fields: &Fields, mut spec: Spec) -> Result<Spec> {
    if fields.is_read("is_causal") || !fields.has("is_causal") {
        return Ok(spec);
    }
    if !fields.or("is_causal", false)? {
        spec.bidirectional = true;
        if let Some(window) = &mut spec.window {
            window.size += 1;
        }
    }
    Ok(spec)
}

/// The config with each field under the name that the family's class has for it: GPT-2's `n_embd` may
/// be called `hidden_size`.
///
/// # Errors
/// A field is given under both names, with two values.
fn under_own_names<'a>(
    config: &'a Map<String, Value>,
    family: &str,
) -> Result<Cow<'a, Map<String, Value>>> {
    let mut config = Cow::Borrowed(config);
    let Some(class) = Class::of(family) else { return Ok(config) };
    for (other, own) in &class.others {
        let Some(value) = config.get(other).cloned() else { continue };
        match config.get(own) {
            Some(known) if *known != value => bail!(
                "config.json: {other} is {value} and {own} is {known}, and the two are one field of {family}"
            ),
            _ => {
                config.to_mut().remove(other);
                config.to_mut().insert(own.clone(), value);
            }
        }
    }
    Ok(config)
}
