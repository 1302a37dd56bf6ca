//! Llama, Mistral, Ministral, Qwen2 and Qwen3, after transformers'
//! `modeling_{llama,mistral,ministral,qwen2,qwen3}.py`: RMS norms, rotary positions, a gated MLP, grouped
//! key/value heads. Mistral adds a sliding window, Ministral one in some layers, Qwen2 biases on the projections of queries, keys
//! and values, and Qwen3 norms of queries and keys.

use crate::Result;
use crate::model::family::reading::{Rule, gated, layer_windows, rms_norm, windowed_everywhere};
use crate::model::family::{Family, NAMES, Names};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, QkNorm, Spec, Window};

pub const LLAMA: Family = Family { name: "llama", example: "meta-llama/Llama-3.2-1B", read: llama };
pub const MISTRAL: Family =
    Family { name: "mistral", example: "mistralai/Mistral-7B-v0.1", read: mistral };
pub const MINISTRAL: Family =
    Family { name: "ministral", example: "mistralai/Ministral-8B-Instruct-2410", read: ministral };
pub const QWEN2: Family = Family { name: "qwen2", example: "Qwen/Qwen2.5-0.5B", read: qwen2 };
pub const QWEN3: Family = Family { name: "qwen3", example: "Qwen/Qwen3-0.6B", read: qwen3 };

fn llama(config: &Fields) -> Result<(Spec, Names)> {
    // The number of tensor-parallel ranks in pretraining changes only the order of sums.
    config.ignore(&["pretraining_tp"]);
    let attention = config.required("attention_bias")?;
    let mlp = config.required("mlp_bias")?;
    let biases = Biases { qkv: attention, attn_out: attention, mlp, ..Biases::NONE };
    Ok((Spec { biases, ..block("llama", config)? }, NAMES))
}

fn mistral(config: &Fields) -> Result<(Spec, Names)> {
    let spec = block("mistral", config)?;
    Ok((Spec { window: windowed_everywhere(config, spec.layers)?, ..spec }, NAMES))
}

fn ministral(config: &Fields) -> Result<(Spec, Names)> {
    let spec = block("ministral", config)?;
    let size = config.positions("sliding_window")?;
    let window = layer_windows(config, spec.layers, size, |_| size.is_some())?;
    Ok((Spec { window, ..spec }, NAMES))
}

fn qwen2(config: &Fields) -> Result<(Spec, Names)> {
    config.only("use_mrope", false)?;
    let spec = block("qwen2", config)?;
    let window = late_windows(config, spec.layers)?;
    Ok((Spec { window, biases: Biases { qkv: true, ..Biases::NONE }, ..spec }, NAMES))
}

fn qwen3(config: &Fields) -> Result<(Spec, Names)> {
    let attention = config.required("attention_bias")?;
    let spec = block("qwen3", config)?;
    let spec = Spec {
        qk_norm: Some(QkNorm::Shared),
        window: late_windows(config, spec.layers)?,
        biases: Biases { qkv: attention, attn_out: attention, ..Biases::NONE },
        ..spec
    };
    Ok((spec, Names { qk_norms: Some(["self_attn.q_norm", "self_attn.k_norm"]), ..NAMES }))
}

fn block(family: &'static str, config: &Fields) -> Result<Spec> {
    let spec = gated(family, config, rms_norm(config)?, &Rule::WHOLE)?;
    Ok(Spec { activation: config.activation("hidden_act")?, ..spec })
}

/// Qwen's sliding window, which is off unless `use_sliding_window` is set: the layers from
/// `max_window_layers` on have it, unless `layer_types` says otherwise.
fn late_windows(config: &Fields, layers: usize) -> Result<Option<Window>> {
    let first = config.or("max_window_layers", 0usize)?;
    let size = match config.required("use_sliding_window")? {
        true => config.positions("sliding_window")?,
        false => None,
    };
    config.ignore(&["sliding_window"]);
    layer_windows(config, layers, size, |layer| size.is_some() && layer >= first)
}
