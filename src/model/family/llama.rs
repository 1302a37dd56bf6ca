//! Llama and its kin, after transformers' `modeling_{llama,mistral,qwen2,qwen3}.py`: RMS norms, rotary positions, a gated
//! MLP, grouped key/value heads. Mistral adds a sliding window, Qwen2 biases on q, k and v, Qwen3 norms on q and k.

use super::{Family, Names, Qkv, head_dim, rotary};
use crate::model::config::Fields;
use crate::model::spec::{Biases, NormKind, NormPlace, NormSpec, Positions, Spec};
use crate::{Result, bail};

pub const LLAMA: Family = Family { name: "llama", example: "meta-llama/Llama-3.2-1B", spec: llama, names: NAMES };
pub const MISTRAL: Family =
    Family { name: "mistral", example: "mistralai/Mistral-7B-v0.1", spec: mistral, names: NAMES };
pub const QWEN2: Family = Family { name: "qwen2", example: "Qwen/Qwen2.5-0.5B", spec: qwen2, names: NAMES };
pub const QWEN3: Family = Family { name: "qwen3", example: "Qwen/Qwen3-0.6B", spec: qwen3, names: NAMES };

const NAMES: Names = Names {
    prefixes: &["model.", ""],
    token_embeddings: "embed_tokens",
    position_embeddings: None,
    project: None,
    block: "layers",
    attn_norm: "input_layernorm",
    qkv: Qkv::Separate(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
    qk_norms: Some(["self_attn.q_norm", "self_attn.k_norm"]),
    attn_out: "self_attn.o_proj",
    mlp_norm: "post_attention_layernorm",
    fc1: "mlp.gate_proj",
    up: Some("mlp.up_proj"),
    fc2: "mlp.down_proj",
    final_norm: "norm",
    heads: &["lm_head"],
    transposed: false,
    buffers: &["rotary_emb.inv_freq"],
};

fn llama(config: &Fields) -> Result<Spec> {
    // The tensor-parallel slices of a checkpoint's pretraining change only the order of sums.
    config.ignore(&["pretraining_tp"]);
    let attention_bias = config.optional("attention_bias")?.unwrap_or(false);
    let mlp = config.optional("mlp_bias")?.unwrap_or(false);
    Ok(Spec {
        family: "llama",
        biases: Biases { qkv: attention_bias, attn_out: attention_bias, mlp, norm: false },
        ..base(config)?
    })
}

fn mistral(config: &Fields) -> Result<Spec> {
    Ok(Spec { family: "mistral", window: config.optional("sliding_window")?, ..base(config)? })
}

fn qwen2(config: &Fields) -> Result<Spec> {
    full_attention(config)?;
    config.only("use_mrope", false)?;
    let biases = Biases { qkv: true, attn_out: false, mlp: false, norm: false };
    Ok(Spec { family: "qwen2", biases, ..base(config)? })
}

fn qwen3(config: &Fields) -> Result<Spec> {
    full_attention(config)?;
    let attention_bias = config.optional("attention_bias")?.unwrap_or(false);
    let biases = Biases { qkv: attention_bias, attn_out: attention_bias, mlp: false, norm: false };
    Ok(Spec { family: "qwen3", qk_norm: true, biases, ..base(config)? })
}

/// Qwen's configs carry a window that is switched off.
fn full_attention(config: &Fields) -> Result<()> {
    config.only("use_sliding_window", false)?;
    config.ignore(&["sliding_window", "max_window_layers"]);
    for kind in config.optional::<Vec<String>>("layer_types")?.unwrap_or_default() {
        if kind != "full_attention" {
            bail!("config.json: layer_types has {kind:?}, which can't be honoured; only full_attention is supported");
        }
    }
    Ok(())
}

fn base(config: &Fields) -> Result<Spec> {
    let hidden = config.size("hidden_size")?;
    let heads = config.size("num_attention_heads")?;
    let kv_heads = config.size_or("num_key_value_heads", heads)?;
    if heads % kv_heads != 0 {
        bail!("config.json: {heads} heads do not share {kv_heads} key/value heads evenly");
    }
    let head_dim = match config.optional("head_dim")? {
        Some(size) => size,
        None => head_dim(hidden, heads)?,
    };
    Ok(Spec {
        family: "",
        layers: config.size("num_hidden_layers")?,
        hidden,
        embedding: hidden,
        heads,
        kv_heads,
        head_dim,
        feed_forward: config.size("intermediate_size")?,
        vocabulary: config.size("vocab_size")?,
        max_positions: config.size("max_position_embeddings")?,
        positions: Positions::Rotary(rotary(config, head_dim, 1.0)?),
        norm: NormSpec { kind: NormKind::Rms, eps: config.optional("rms_norm_eps")?.unwrap_or(1e-6), affine: true },
        norm_place: NormPlace::Before,
        parallel: false,
        activation: config.activation("hidden_act", "silu")?,
        gated: true,
        qk_norm: false,
        window: None,
        biases: Biases { qkv: false, attn_out: false, mlp: false, norm: false },
        final_norm: true,
        tied: config.optional("tie_word_embeddings")?.unwrap_or(false),
    })
}
