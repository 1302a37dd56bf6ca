//! The config.json that a GGUF file's metadata stand for.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::header::{Metadata, Stored};
use super::names::{ARCHITECTURES, Architecture, Heads};
use crate::{Result, bail, error};

/// What the metadata say of the model.
pub struct Model {
    pub architecture: Architecture,
    pub heads: Heads,
    /// The numbers in tensors that the config has in arrays.
    pub config: Map<String, Json>,
}

/// Numbers of a tensor of the file, as of `rope_freqs.weight`.
pub type Numbers<'a> = dyn Fn(&str) -> Result<Vec<f32>> + 'a;

/// Reads the metadata of the file `name`.
///
/// # Errors
/// The architecture is not supported; a field is missing, or can't be honoured.
pub fn read(
    metadata: &Metadata,
    tensors: &BTreeMap<String, Stored>,
    numbers: &Numbers,
    name: &str,
) -> Result<Model> {
    let called = metadata.text("general.architecture")?;
    let called = called.ok_or_else(|| error!("{name} has no general.architecture"))?;
    let known = ARCHITECTURES.iter().find(|(known, _)| *known == called);
    let Some(&(called, architecture)) = known else {
        let all: Vec<&str> = ARCHITECTURES.iter().map(|(known, _)| *known).collect();
        return Err(error!("{name}: the architecture {called:?} is not supported")
            .help(format!("of GGUF files these are: {}", all.join(", "))));
    };
    let reader = Reader { metadata, tensors, numbers, called, name };
    let heads = reader.size("attention.head_count")?;
    let kv_heads = reader.optional("attention.head_count_kv")?.unwrap_or(heads);
    let heads = Heads { heads: bounded(heads, name)?, kv_heads: bounded(kv_heads, name)? };
    let config = reader.config(architecture, heads)?;
    metadata.finish(&format!("{called}."))?;
    Ok(Model { architecture, heads, config })
}

/// A number of heads that sizes can be computed with.
fn bounded(heads: u64, name: &str) -> Result<usize> {
    match usize::try_from(heads) {
        Ok(heads) if (1..=1 << 20).contains(&heads) => Ok(heads),
        _ => bail!("{name}: {heads} heads are none that a model has"),
    }
}

struct Reader<'a> {
    metadata: &'a Metadata,
    tensors: &'a BTreeMap<String, Stored>,
    numbers: &'a Numbers<'a>,
    called: &'a str,
    name: &'a str,
}

impl Reader<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.called)
    }

    fn optional(&self, name: &str) -> Result<Option<u64>> {
        self.metadata.count(&self.key(name))
    }

    fn size(&self, name: &str) -> Result<u64> {
        self.optional(name)?.ok_or_else(|| error!("{} has no {}", self.name, self.key(name)))
    }

    fn number(&self, name: &str) -> Result<Option<f64>> {
        self.metadata.number(&self.key(name))
    }

    fn needed(&self, name: &str) -> Result<f64> {
        self.number(name)?.ok_or_else(|| error!("{} has no {}", self.name, self.key(name)))
    }

    fn has(&self, tensor: &str) -> bool {
        self.tensors.contains_key(tensor)
    }

    fn config(&self, architecture: Architecture, heads: Heads) -> Result<Map<String, Json>> {
        use Architecture::{
            Falcon, Gemma, Gemma2, Gemma3, Gpt2, GptNeoX, Llama, Olmo2, Phi3, Qwen2, Qwen3,
            StableLm,
        };
        self.check_idle()?;
        let common = self.common(heads)?;
        let head = common["head_dim"].as_u64().unwrap_or_default();
        let layers = self.size("block_count")?;
        let rms = || self.needed("attention.layer_norm_rms_epsilon");
        let norm = || self.needed("attention.layer_norm_epsilon");
        let theta = self.number("rope.freq_base")?;
        let turned = self.optional("rope.dimension_count")?.unwrap_or(head);
        let share = turned as f64 / head as f64;
        if turned != head && !matches!(architecture, Phi3 | GptNeoX | StableLm) {
            bail!(
                "{}: {turned} of the {head} dimensions of a head rotate, and in {} all do",
                self.name,
                self.called
            );
        }
        let own = match architecture {
            Llama => json!({
                "model_type": "llama", "rms_norm_eps": rms()?, "hidden_act": "silu",
                "attention_bias": self.has("blk.0.attn_q.bias"), "mlp_bias": self.has("blk.0.ffn_up.bias"),
            }),
            Qwen2 => json!({
                "model_type": "qwen2", "rms_norm_eps": rms()?, "hidden_act": "silu", "use_sliding_window": false,
            }),
            Qwen3 => json!({
                "model_type": "qwen3", "rms_norm_eps": rms()?, "hidden_act": "silu", "use_sliding_window": false,
                "attention_bias": self.has("blk.0.attn_q.bias"),
            }),
            Gemma => json!({
                "model_type": "gemma", "rms_norm_eps": rms()?, "hidden_act": "gelu_pytorch_tanh", "attention_bias": false,
            }),
            Gemma2 | Gemma3 => {
                // Not in the metadata: llama.cpp knows the largest models by their layers.
                let largest = if architecture == Gemma2 { 46 } else { 62 };
                let scalar = match layers == largest {
                    true => self.size("embedding_length")? / heads.heads as u64,
                    false => head,
                };
                json!({
                    "model_type": if architecture == Gemma2 { "gemma2" } else { "gemma3_text" },
                    "rms_norm_eps": rms()?, "hidden_activation": "gelu_pytorch_tanh", "attention_bias": false,
                    "query_pre_attn_scalar": scalar,
                    "attn_logit_softcapping": self.number("attn_logit_softcapping")?,
                    "final_logit_softcapping": self.number("final_logit_softcapping")?,
                    "sliding_window": self.size("attention.sliding_window")?,
                })
            }
            Phi3 => json!({
                "model_type": "phi3", "rms_norm_eps": rms()?, "hidden_act": "silu", "partial_rotary_factor": share,
                "sliding_window": self.optional("attention.sliding_window")?.filter(|size| *size > 0),
                "attention_bias": false,
            }),
            Gpt2 => json!({
                "model_type": "gpt2", "layer_norm_epsilon": norm()?, "activation_function": "gelu_new",
            }),
            GptNeoX => json!({
                "model_type": "gpt_neox", "layer_norm_eps": norm()?, "hidden_act": "gelu", "rotary_pct": share,
                "rotary_emb_base": theta.unwrap_or(1e4), "attention_bias": true,
                "use_parallel_residual": self.metadata.flag(&self.key("use_parallel_residual"))?.unwrap_or(true),
            }),
            Olmo2 => json!({
                "model_type": "olmo2", "rms_norm_eps": rms()?, "hidden_act": "silu", "attention_bias": false,
            }),
            StableLm => json!({
                "model_type": "stablelm", "layer_norm_eps": norm()?, "hidden_act": "silu", "partial_rotary_factor": share,
                "use_parallel_residual": self.metadata.flag(&self.key("use_parallel_residual"))?.unwrap_or(false),
                "qk_layernorm": self.has("blk.0.attn_q_norm.weight"), "use_qkv_bias": self.has("blk.0.attn_q.bias"),
            }),
            Falcon => {
                let grouped = heads.kv_heads > 1;
                json!({
                    "model_type": "falcon", "layer_norm_epsilon": norm()?, "activation": "gelu", "alibi": false,
                    "bias": self.has("blk.0.attn_qkv.bias"), "parallel_attn": true, "multi_query": !grouped,
                    "new_decoder_architecture": grouped, "num_kv_heads": heads.kv_heads,
                    "num_ln_in_parallel_attn": if self.has("blk.0.attn_norm_2.weight") { 2 } else { 1 },
                })
            }
        };
        let mut config = common;
        for (name, value) in own.as_object().cloned().unwrap_or_default() {
            config.insert(name, value);
        }
        match architecture {
            Gpt2 => {}
            GptNeoX => {
                self.without_scaling()?;
            }
            Gemma3 => {
                config.insert("rope_theta".into(), theta.unwrap_or(1e6).into());
                let local = self.number("rope.freq_base_swa")?.unwrap_or(1e4);
                config.insert("rope_local_base_freq".into(), local.into());
                if let Some(pattern) = self.optional("attention.sliding_window_pattern")? {
                    config.insert("sliding_window_pattern".into(), pattern.into());
                }
            }
            _ => {
                config.insert("rope_theta".into(), theta.unwrap_or(1e4).into());
            }
        }
        if let Some(scaling) = self.scaling()? {
            config.insert("rope_scaling".into(), scaling);
        }
        Ok(under_names(architecture, config))
    }

    /// Checks metadata that change nothing as they usually are.
    fn check_idle(&self) -> Result<()> {
        if self.metadata.flag(&self.key("attention.causal"))? == Some(false) {
            bail!("{}: a model that is not causal can't be honoured", self.name);
        }
        let (keys, values) =
            (self.optional("attention.key_length")?, self.optional("attention.value_length")?);
        if keys.is_some() && values.is_some() && keys != values {
            bail!("{}: keys and values of different lengths can't be honoured", self.name);
        }
        for name in ["expert_count", "expert_used_count"] {
            if self.optional(name)?.is_some_and(|n| n > 0) {
                return Err(error!("{}: a mixture of experts is not supported", self.name));
            }
        }
        self.optional("vocab_size")?;
        self.metadata.text(&self.key("tensor_data_layout"))?;
        Ok(())
    }

    /// The sizes, under the names that most families have for them.
    fn common(&self, Heads { heads, kv_heads }: Heads) -> Result<Map<String, Json>> {
        let hidden = self.size("embedding_length")?;
        let head = match self.optional("attention.key_length")? {
            Some(head) => head,
            None => hidden / heads as u64,
        };
        if head == 0 {
            bail!("{}: heads of no dimensions", self.name);
        }
        let vocabulary = self.tensors.get("token_embd.weight").map_or(0, |table| table.shape[0]);
        let sizes = json!({
            "hidden_size": hidden,
            "num_hidden_layers": self.size("block_count")?,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "head_dim": head,
            "intermediate_size": self.size("feed_forward_length")?,
            "max_position_embeddings": self.size("context_length")?,
            "vocab_size": vocabulary,
            "tie_word_embeddings": !self.has("output.weight"),
        });
        let mut config = sizes.as_object().cloned().unwrap_or_default();
        for (role, key) in
            [("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")]
        {
            let id = self.metadata.count(&format!("tokenizer.ggml.{key}_token_id"))?;
            config.insert(role.into(), id.into());
        }
        Ok(config)
    }

    fn without_scaling(&self) -> Result<()> {
        match self.scaling()? {
            None => Ok(()),
            Some(_) => bail!("{}: rope scaling can't be honoured in {}", self.name, self.called),
        }
    }

    /// The scaling of rotary embeddings, as `rope_scaling` of config.json has it.
    fn scaling(&self) -> Result<Option<Json>> {
        let kind = self.metadata.text(&self.key("rope.scaling.type"))?;
        let factor = self.number("rope.scaling.factor")?;
        let original = self.optional("rope.scaling.original_context_length")?;
        let attention = self.number("rope.scaling.attn_factor")?;
        self.metadata.flag(&self.key("rope.scaling.finetuned"))?;
        let longest = self.size("context_length")?;
        let factors = |tensor: &str| match self.has(tensor) {
            true => (self.numbers)(tensor).map(Some),
            false => Ok(None),
        };
        let long = factors("rope_factors_long.weight")?;
        let short = factors("rope_factors_short.weight")?;
        // What each frequency is divided by, whatever the length: Llama 3's scaling, worked out.
        let all = factors("rope_freqs.weight")?;
        if let (Some(short), Some(long)) = (short, long) {
            return Ok(Some(json!({
                "rope_type": "longrope", "short_factor": short, "long_factor": long,
                "attention_factor": attention, "original_max_position_embeddings": original.unwrap_or(longest),
            })));
        }
        if let Some(all) = all {
            return Ok(Some(json!({
                "rope_type": "longrope", "short_factor": all, "long_factor": all, "attention_factor": 1.0,
                "original_max_position_embeddings": longest,
            })));
        }
        Ok(match kind {
            None if factor.is_none() => None,
            Some("none") => None,
            None | Some("linear") => {
                Some(json!({"rope_type": "linear", "factor": factor.unwrap_or(1.0)}))
            }
            Some("yarn") => Some(json!({
                "rope_type": "yarn", "factor": factor, "attention_factor": attention,
                "original_max_position_embeddings": original.unwrap_or(longest),
            })),
            Some(other) => {
                bail!(
                    "{}: the rope scaling {other:?} can't be honoured; linear, yarn and longrope are",
                    self.name
                )
            }
        })
    }
}

/// The config with the names that the family has for sizes, without those that it does not have.
fn under_names(architecture: Architecture, mut config: Map<String, Json>) -> Map<String, Json> {
    use Architecture::{Falcon, Gpt2, GptNeoX, Olmo2, Phi3, Qwen2, StableLm};
    let mut remove = |names: &[&str]| {
        for name in names {
            config.remove(*name);
        }
    };
    match architecture {
        Gpt2 => remove(&["num_key_value_heads", "head_dim"]),
        GptNeoX => remove(&["num_key_value_heads", "head_dim"]),
        Falcon => remove(&["num_key_value_heads", "head_dim"]),
        Qwen2 | Olmo2 | Phi3 | StableLm => remove(&["head_dim"]),
        _ => {}
    }
    let renamed: &[(&str, &str)] = match architecture {
        Gpt2 => &[
            ("hidden_size", "n_embd"),
            ("num_hidden_layers", "n_layer"),
            ("num_attention_heads", "n_head"),
            ("intermediate_size", "n_inner"),
            ("max_position_embeddings", "n_positions"),
        ],
        Falcon => &[("intermediate_size", "ffn_hidden_size")],
        _ => &[],
    };
    for (name, own) in renamed {
        if let Some(value) = config.remove(*name) {
            config.insert((*own).into(), value);
        }
    }
    config
}
