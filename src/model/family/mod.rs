//! The families: for each, how its config.json becomes a [`Spec`], and what its checkpoints call each weight.

mod gpt2;
mod gpt_neox;
mod llama;
mod opt;

use serde_json::{Map, Value};

use super::config::Fields;
use super::spec::{Llama3Scaling, RotarySpec, Spec};
use crate::{Result, bail, error, nearest};

/// One architecture, as data.
pub struct Family {
    /// `model_type` of config.json.
    pub name: &'static str,
    /// A well-known checkpoint of it.
    pub example: &'static str,
    pub spec: fn(&Fields) -> Result<Spec>,
    pub names: Names,
}

/// What a family's checkpoints call each weight. In a block, names follow `{prefix}{block}.{i}.`.
pub struct Names {
    /// What may stand before every name, the usual one first.
    pub prefixes: &'static [&'static str],
    pub token_embeddings: &'static str,
    pub position_embeddings: Option<&'static str>,
    /// Projections between the embeddings' size and the stream's (OPT-350m).
    pub project: Option<[&'static str; 2]>,
    pub block: &'static str,
    pub attn_norm: &'static str,
    pub qkv: Qkv,
    /// Norms of queries and keys.
    pub qk_norms: Option<[&'static str; 2]>,
    pub attn_out: &'static str,
    pub mlp_norm: &'static str,
    pub fc1: &'static str,
    pub up: Option<&'static str>,
    pub fc2: &'static str,
    pub final_norm: &'static str,
    /// The unembedding where it is not tied; these names take no prefix.
    pub heads: &'static [&'static str],
    /// Weights stand as [in, out] (GPT-2's Conv1D), rather than [out, in].
    pub transposed: bool,
    /// Endings of names that are no weights: masks and rotary tables.
    pub buffers: &'static [&'static str],
}

/// How the query, key and value projections are stored.
pub enum Qkv {
    Separate([&'static str; 3]),
    /// One matrix: all queries, then all keys, then all values.
    Stacked(&'static str),
    /// One matrix: each head's query, key and value side by side.
    PerHead(&'static str),
}

/// Every family, in the order in which they are listed.
pub const FAMILIES: &[Family] =
    &[opt::FAMILY, gpt_neox::FAMILY, gpt2::FAMILY, llama::LLAMA, llama::MISTRAL, llama::QWEN2, llama::QWEN3];

impl Family {
    /// The family that a config names.
    ///
    /// # Errors
    /// No `model_type`, or one that is not supported, with the nearest.
    pub fn of(config: &Map<String, Value>) -> Result<&'static Family> {
        let Some(name) = config.get("model_type").and_then(Value::as_str) else {
            bail!("config.json has no model_type, so the model's family is not known")
        };
        FAMILIES.iter().find(|family| family.name == name).ok_or_else(|| {
            let all: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
            let near = nearest(name, all.iter().copied());
            let hint = near.first().map(|near| format!("the nearest in name is {near}; ")).unwrap_or_default();
            error!("the model family {name:?} is not supported")
                .help(format!("{hint}supported are {}. A family is one file under src/model/family", all.join(", ")))
        })
    }

    /// Reads a config of this family.
    ///
    /// # Errors
    /// A field that is missing, of the wrong type, or can't be honoured.
    pub fn read(&self, config: &Map<String, Value>) -> Result<Spec> {
        let fields = Fields::new(config);
        let spec = (self.spec)(&fields)?;
        fields.finish()?;
        Ok(spec)
    }
}

/// A head's size, from the hidden size where the config does not say it.
fn head_dim(hidden: usize, heads: usize) -> Result<usize> {
    if !hidden.is_multiple_of(heads) {
        bail!("config.json: a hidden size of {hidden} does not divide into {heads} heads");
    }
    Ok(hidden / heads)
}

/// Rotary settings in any of the forms that configs have: `rope_parameters` (since transformers 5), or `rope_theta` with
/// `rope_scaling`, or GPT-NeoX's `rotary_emb_base` and `rotary_pct`.
fn rotary(fields: &Fields, head_dim: usize, default_part: f64) -> Result<RotarySpec> {
    let mut theta = fields.optional("rope_theta")?.or(fields.optional("rotary_emb_base")?);
    let mut part = fields.optional("partial_rotary_factor")?.or(fields.optional("rotary_pct")?);
    let mut scaling = None;
    for name in ["rope_scaling", "rope_parameters"] {
        let Some(nested) = fields.nested(name)? else { continue };
        theta = nested.optional("rope_theta")?.or(theta);
        part = nested.optional("partial_rotary_factor")?.or(part);
        let kind: Option<String> = nested.optional("rope_type")?.or(nested.optional("type")?);
        match kind.as_deref() {
            None | Some("default") => {}
            Some("llama3") => {
                scaling = Some(Llama3Scaling {
                    factor: nested.required("factor")?,
                    low_freq_factor: nested.required("low_freq_factor")?,
                    high_freq_factor: nested.required("high_freq_factor")?,
                    original_max_positions: nested.required("original_max_position_embeddings")?,
                });
            }
            Some(other) => bail!("config.json: the rope scaling {other:?} can't be honoured; llama3 is supported"),
        }
        nested.finish()?;
    }
    let dims = (head_dim as f64 * part.unwrap_or(default_part)) as usize;
    if !dims.is_multiple_of(2) || dims > head_dim {
        bail!("config.json: {dims} rotary dimensions of a head of {head_dim}: expected an even number of at most that");
    }
    Ok(RotarySpec { dims, theta: theta.unwrap_or(10_000.0), scaling })
}
