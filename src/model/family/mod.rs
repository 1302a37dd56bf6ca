//! The model families. Each is data: how its config.json becomes a [`Spec`], and the names of the
//! weights in its checkpoints. There is no forward pass here.

mod bloom;
mod falcon;
mod gemma;
mod gpt2;
mod gpt_neox;
mod gptj;
mod initial;
mod llama;
mod olmo2;
mod opt;
mod phi;
mod phi3;
mod stablelm;
mod verified;

pub use initial::{Initial, Padding};
use serde_json::{Map, Value};
pub use verified::{VERIFIED, Verified};

use super::load::config::{Allowed, Fields};
use super::spec::{
    Activation, NormSpec, Pairs, Positions, RotaryScaling, RotarySpec, Sizes, Spec, Window,
};
use crate::{Result, bail, error, nearest};

/// One architecture, as data.
pub struct Family {
    /// `model_type` of config.json.
    pub name: &'static str,
    /// A well-known checkpoint on the Hugging Face Hub.
    pub example: &'static str,
    /// Reads a config. It need not check that all fields were read: [`Family::read`](Self::read)
    /// does.
    pub read: fn(&Fields) -> Result<(Spec, Names)>,
}

/// The names of the weights in a family's checkpoints, without `.weight` and `.bias`. A weight of
/// block i is `{prefix}{block}.{i}.{name}`.
pub struct Names {
    /// The prefixes that a checkpoint may have before every name, the usual one first.
    pub prefixes: &'static [&'static str],
    /// The table of token embeddings.
    pub token_embeddings: &'static str,
    /// The table of learned positions.
    pub position_embeddings: Option<&'static str>,
    /// The projections from the embedding size to the hidden size and back (OPT-350m).
    pub project: Option<[&'static str; 2]>,
    /// The norm after the embeddings (BLOOM).
    pub embedding_norm: Option<&'static str>,
    /// The list of blocks.
    pub block: &'static str,
    /// Attention's norm, or the first if it has one before and one after it.
    pub attn_norm: &'static str,
    /// The norm of attention's output, with [`NormPlace::Both`](super::spec::NormPlace::Both).
    pub attn_out_norm: Option<&'static str>,
    /// The projections of queries, keys and values.
    pub qkv: Qkv,
    /// The norms of queries and of keys.
    pub qk_norms: Option<[&'static str; 2]>,
    /// Attention's output projection.
    pub attn_out: &'static str,
    /// The MLP's norm. It is `attn_norm` again in families that have one norm for both.
    pub mlp_norm: &'static str,
    /// The norm of the MLP's output, with [`NormPlace::Both`](super::spec::NormPlace::Both).
    pub mlp_out_norm: Option<&'static str>,
    /// The projections into the MLP.
    pub mlp_in: MlpIn,
    /// The MLP's output projection.
    pub fc2: &'static str,
    /// The norm after the last block.
    pub final_norm: &'static str,
    /// Names that the unembedding may have if it is not tied. They take no prefix.
    pub heads: &'static [&'static str],
    /// Whether matrices are stored as [in, out] (GPT-2's Conv1D) instead of [out, in].
    pub transposed: bool,
    /// Endings of the names of tensors that are no weights: masks and rotary tables.
    pub buffers: &'static [&'static str],
    /// How the weights are drawn before training.
    pub initial: Initial,
}

/// How the query, key and value projections are stored.
pub enum Qkv {
    /// Three matrices: queries, keys, values.
    Separate([&'static str; 3]),
    /// One matrix: all queries, then all keys, then all values.
    Stacked(&'static str),
    /// One matrix: for each key/value head the queries of its group, its key and its value.
    ByGroup(&'static str),
}

/// How the projections into an MLP are stored.
pub enum MlpIn {
    /// One matrix of an MLP that is not gated.
    Plain(&'static str),
    /// Two matrices of a gated MLP.
    Gated {
        /// Into the activation.
        gate: &'static str,
        /// The other branch.
        up: &'static str,
    },
    /// One matrix of a gated MLP: the gate, then the other branch.
    Stacked(&'static str),
}

/// Llama's names. Other families are described by their differences from these.
const NAMES: Names = Names {
    prefixes: &["model.", ""],
    token_embeddings: "embed_tokens",
    position_embeddings: None,
    project: None,
    embedding_norm: None,
    block: "layers",
    attn_norm: "input_layernorm",
    attn_out_norm: None,
    qkv: Qkv::Separate(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
    qk_norms: None,
    attn_out: "self_attn.o_proj",
    mlp_norm: "post_attention_layernorm",
    mlp_out_norm: None,
    mlp_in: MlpIn::Gated { gate: "mlp.gate_proj", up: "mlp.up_proj" },
    fc2: "mlp.down_proj",
    final_norm: "norm",
    heads: &["lm_head"],
    transposed: false,
    buffers: &["rotary_emb.inv_freq"],
    initial: Initial { padding: Padding::Token(None), scaled: &[] },
};

/// Every family, in the order in which `precompute models` lists them.
pub const FAMILIES: &[Family] = &[
    opt::FAMILY,
    gpt_neox::FAMILY,
    gpt2::FAMILY,
    llama::LLAMA,
    llama::MISTRAL,
    llama::QWEN2,
    llama::QWEN3,
    gemma::GEMMA2,
    gemma::GEMMA3,
    phi::FAMILY,
    phi3::FAMILY,
    gptj::FAMILY,
    stablelm::FAMILY,
    olmo2::FAMILY,
    falcon::FAMILY,
    bloom::FAMILY,
];

impl Family {
    /// The family that a config names in `model_type`.
    ///
    /// # Errors
    /// There is no `model_type`, or it is not supported; the error suggests the nearest family.
    pub fn of(config: &Map<String, Value>) -> Result<&'static Family> {
        let Some(name) = config.get("model_type").and_then(Value::as_str) else {
            bail!("config.json has no model_type, so the model's family is not known")
        };
        FAMILIES.iter().find(|family| family.name == name).ok_or_else(|| {
            let all: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
            let supported = format!("supported are {}", all.join(", "));
            let error = error!("the model family {name:?} is not supported");
            let near = FAMILIES.iter().find(|family| family.read(config).is_ok()).map(|family| family.name);
            error.help(match (near, nearest(name, all.iter().copied()).first()) {
                (Some(near), _) => format!(
                    "the nearest is {near}, whose reader takes this config: try model_type {near:?} in a copy, and compare \
                     its logits with the original's. A family is one file under src/model/family; {supported}"
                ),
                (None, Some(near)) => format!(
                    "the nearest in name is {near}. A family is one file under src/model/family: how config.json becomes a \
                     Spec, and what the checkpoint calls each weight; {supported}"
                ),
                (None, None) => format!(
                    "a family is one file under src/model/family: how config.json becomes a Spec, and what the checkpoint \
                     calls each weight; {supported}"
                ),
            })
        })
    }

    /// Reads a config of this family.
    ///
    /// # Errors
    /// A field is missing, has a wrong type or an unsupported value, or is not known to this family
    /// and could change the result.
    pub fn read(&self, config: &Map<String, Value>) -> Result<(Spec, Names)> {
        let fields = Fields::new(config);
        let (spec, names) = (self.read)(&fields)?;
        fields.finish_with(&spec.sizes())?;
        Ok((spec, names))
    }
}

/// The size of a head: the hidden size divided by the number of heads.
fn head_dim(hidden: usize, heads: usize) -> Result<usize> {
    if !hidden.is_multiple_of(heads) {
        bail!("config.json: a hidden size of {hidden} does not divide into {heads} heads");
    }
    Ok(hidden / heads)
}

/// The number of key/value heads in field `name`; as many as heads if the field is absent.
fn kv_heads(fields: &Fields, name: &'static str, heads: usize) -> Result<usize> {
    let kv_heads = fields.size_or(name, heads)?;
    if !heads.is_multiple_of(kv_heads) {
        bail!("config.json: {heads} heads do not share {kv_heads} key/value heads evenly");
    }
    Ok(kv_heads)
}

fn rms_norm(fields: &Fields, default: f64) -> Result<NormSpec> {
    Ok(NormSpec::rms(fields.number("rms_norm_eps", Allowed::EPS)?.unwrap_or(default)))
}

/// Llama's block: a gated MLP, rotary positions, no biases. `part` is the share of each head that is
/// rotated if the config does not say.
fn gated(family: &'static str, fields: &Fields, norm: NormSpec, part: f64) -> Result<Spec> {
    let head_dim = gated_head_dim(fields)?;
    gated_at(family, fields, norm, Positions::Rotary(rotary(fields, head_dim, part)?))
}

/// Llama's block with any kind of positions.
fn gated_at(
    family: &'static str,
    fields: &Fields,
    norm: NormSpec,
    positions: Positions,
) -> Result<Spec> {
    let heads = fields.size("num_attention_heads")?;
    let sizes = Sizes {
        layers: fields.size("num_hidden_layers")?,
        hidden: fields.size("hidden_size")?,
        heads,
        kv_heads: kv_heads(fields, "num_key_value_heads", heads)?,
        head_dim: gated_head_dim(fields)?,
        feed_forward: fields.size("intermediate_size")?,
        vocabulary: fields.size("vocab_size")?,
        max_positions: fields.max_positions("max_position_embeddings")?,
    };
    Ok(Spec {
        // Gemma's reader reads `hidden_activation` itself.
        activation: if fields.has("hidden_activation") {
            Activation::Silu
        } else {
            fields.activation("hidden_act", "silu")?
        },
        gated: true,
        tied: fields.optional("tie_word_embeddings")?.unwrap_or(false),
        ..Spec::usual(family, sizes, positions, norm)
    })
}

/// The size of a head from `head_dim`, or if that is absent from the hidden size.
fn gated_head_dim(fields: &Fields) -> Result<usize> {
    match fields.optional::<usize>("head_dim")? {
        Some(_) => fields.size("head_dim"),
        None => head_dim(fields.size("hidden_size")?, fields.size("num_attention_heads")?),
    }
}

/// The sliding window of a family in which all layers have it or none.
fn windowed_everywhere(fields: &Fields, layers: usize) -> Result<Option<Window>> {
    let size = fields.positions("sliding_window")?;
    Ok(size.map(|size| Window { size, layers: vec![true; layers], rotary: None }))
}

/// The rotary embeddings from any of the fields that configs have for them: `rope_parameters` (since
/// transformers 5), `rope_theta` with `rope_scaling`, or GPT-NeoX's `rotary_emb_base` and
/// `rotary_pct`. `default_part` is the share of each head that is rotated if no field says it.
fn rotary(fields: &Fields, head_dim: usize, default_part: f64) -> Result<RotarySpec> {
    let theta_of = |fields: &Fields, name| fields.number(name, Allowed::THETA);
    let part_of = |fields: &Fields, name| fields.number(name, Allowed::PART);
    let mut theta = theta_of(fields, "rope_theta")?.or(theta_of(fields, "rotary_emb_base")?);
    let mut part = part_of(fields, "partial_rotary_factor")?.or(part_of(fields, "rotary_pct")?);
    let mut scaling = None;
    for name in ["rope_scaling", "rope_parameters"] {
        let Some(nested) = fields.nested(name)? else { continue };
        theta = theta_of(&nested, "rope_theta")?.or(theta);
        part = part_of(&nested, "partial_rotary_factor")?.or(part);
        scaling = rotary_scaling(fields, &nested)?;
        nested.finish()?;
    }
    let dims = (head_dim as f64 * part.unwrap_or(default_part)) as usize;
    rotary_spec(head_dim, dims, theta.unwrap_or(10_000.0), Pairs::Halves, scaling)
}

/// Checks the settings of rotary embeddings against the size of a head.
fn rotary_spec(
    head_dim: usize,
    dims: usize,
    theta: f64,
    pairs: Pairs,
    scaling: Option<RotaryScaling>,
) -> Result<RotarySpec> {
    if dims == 0 || !dims.is_multiple_of(2) || dims > head_dim {
        bail!(
            "config.json: {dims} rotary dimensions of a head of {head_dim}: expected an even number of at most that"
        );
    }
    if let Some(RotaryScaling::LongRope { short, long, .. }) = &scaling
        && (short.len() != dims / 2 || long.len() != dims / 2)
    {
        bail!(
            "config.json: longrope has {} and {} factors for {} frequencies",
            short.len(),
            long.len(),
            dims / 2
        );
    }
    Ok(RotarySpec { dims, pairs, theta, scaling })
}

/// The scaling in a map `scaling`, which is `rope_scaling` or `rope_parameters`, of the config
/// `fields`.
fn rotary_scaling(fields: &Fields, scaling: &Fields) -> Result<Option<RotaryScaling>> {
    let kind: Option<String> = scaling.optional("rope_type")?.or(scaling.optional("type")?);
    Ok(match kind.as_deref() {
        None | Some("default") => None,
        Some("linear") => Some(RotaryScaling::Linear {
            factor: scaling.required_number("factor", Allowed::FACTOR)?,
        }),
        Some("llama3") => {
            let low = scaling.required_number("low_freq_factor", Allowed::SCALE)?;
            let high = scaling.required_number("high_freq_factor", Allowed::SCALE)?;
            if low >= high {
                bail!(
                    "config.json: high_freq_factor must be above low_freq_factor = {low}, not {high}"
                );
            }
            Some(RotaryScaling::Llama3 {
                factor: scaling.required_number("factor", Allowed::FACTOR)?,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_positions: scaling.max_positions("original_max_position_embeddings")?
                    as f64,
            })
        }
        Some("longrope" | "su") => {
            let longest = fields.max_positions("max_position_embeddings")?;
            let original = fields.positions("original_max_position_embeddings")?;
            let original = scaling
                .positions("original_max_position_embeddings")?
                .or(original)
                .unwrap_or(longest);
            if original < 2 {
                bail!(
                    "config.json: original_max_position_embeddings must be at least 2, not {original}"
                );
            }
            let factor = scaling
                .number("factor", Allowed::FACTOR)?
                .unwrap_or(longest as f64 / original as f64);
            let computed = if factor <= 1.0 {
                1.0
            } else {
                (1.0 + factor.ln() / (original as f64).ln()).sqrt()
            };
            Some(RotaryScaling::LongRope {
                short: scaling.numbers("short_factor", Allowed::SCALE)?,
                long: scaling.numbers("long_factor", Allowed::SCALE)?,
                original_max_positions: original,
                attention_factor: scaling
                    .number("attention_factor", Allowed::SCALE)?
                    .unwrap_or(computed),
            })
        }
        Some(other) => {
            bail!(
                "config.json: the rope scaling {other:?} can't be honoured; linear, llama3 and longrope are"
            )
        }
    })
}
