//! Llama, Mistral, Qwen2 and Qwen3, after transformers'
//! `modeling_{llama,mistral,qwen2,qwen3}.py`: RMS norms, rotary positions, a gated MLP, grouped
//! key/value heads. Mistral adds a sliding window, Qwen2 biases on the projections of queries, keys
//! and values, and Qwen3 norms of queries and keys.

use super::{Family, NAMES, Names, gated, rms_norm, windowed_everywhere};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, QkNorm, Spec};
use crate::{Result, bail};

pub const LLAMA: Family = Family { name: "llama", example: "meta-llama/Llama-3.2-1B", read: llama };
pub const MISTRAL: Family =
    Family { name: "mistral", example: "mistralai/Mistral-7B-v0.1", read: mistral };
pub const QWEN2: Family = Family { name: "qwen2", example: "Qwen/Qwen2.5-0.5B", read: qwen2 };
pub const QWEN3: Family = Family { name: "qwen3", example: "Qwen/Qwen3-0.6B", read: qwen3 };

fn llama(config: &Fields) -> Result<(Spec, Names)> {
    // The number of tensor-parallel ranks in pretraining changes only the order of sums.
    config.ignore(&["pretraining_tp"]);
    let attention = config.optional("attention_bias")?.unwrap_or(false);
    let mlp = config.optional("mlp_bias")?.unwrap_or(false);
    let biases = Biases { qkv: attention, attn_out: attention, mlp, ..Biases::NONE };
    Ok((Spec { biases, ..gated("llama", config, rms_norm(config, 1e-6)?, 1.0)? }, NAMES))
}

fn mistral(config: &Fields) -> Result<(Spec, Names)> {
    let spec = gated("mistral", config, rms_norm(config, 1e-6)?, 1.0)?;
    Ok((Spec { window: windowed_everywhere(config, spec.layers)?, ..spec }, NAMES))
}

fn qwen2(config: &Fields) -> Result<(Spec, Names)> {
    full_attention(config)?;
    config.only("use_mrope", false)?;
    let biases = Biases { qkv: true, ..Biases::NONE };
    Ok((Spec { biases, ..gated("qwen2", config, rms_norm(config, 1e-6)?, 1.0)? }, NAMES))
}

fn qwen3(config: &Fields) -> Result<(Spec, Names)> {
    full_attention(config)?;
    let attention = config.optional("attention_bias")?.unwrap_or(false);
    let spec = Spec {
        qk_norm: Some(QkNorm::Shared),
        biases: Biases { qkv: attention, attn_out: attention, ..Biases::NONE },
        ..gated("qwen3", config, rms_norm(config, 1e-6)?, 1.0)?
    };
    Ok((spec, Names { qk_norms: Some(["self_attn.q_norm", "self_attn.k_norm"]), ..NAMES }))
}

/// Qwen's configs have a sliding window that is switched off: checks that it is.
fn full_attention(config: &Fields) -> Result<()> {
    config.only("use_sliding_window", false)?;
    config.ignore(&["sliding_window", "max_window_layers"]);
    for kind in config.optional::<Vec<String>>("layer_types")?.unwrap_or_default() {
        if kind != "full_attention" {
            bail!(
                "config.json: layer_types has {kind:?}, which can't be honoured; only full_attention is supported"
            );
        }
    }
    Ok(())
}
