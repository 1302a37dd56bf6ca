//! OLMo, OLMo 2 and OLMo 3 (Groeneveld et al. 2024, Walsh et al. 2025), after transformers'
//! `modeling_olmo{,2,3}.py`. OLMo is Llama's block with layer norms without weights, and may clip
//! queries, keys and values. OLMo 2 has RMS norms on the outputs of attention and MLP instead of their
//! inputs, one norm over the queries of all heads and one over the keys. OLMo 3 adds a sliding window
//! in three layers of four, whose rotary embeddings are never scaled.

use crate::Result;
use crate::model::family::reading::{
    Rule, gated, gated_at, gated_head_dim, layer_windows, rms_norm, rotaries_by_kind,
};
use crate::model::family::{Family, Initial, NAMES, Names, Padding};
use crate::model::load::config::{Allowed, Fields};
use crate::model::spec::{Biases, NormPlace, NormSpec, Positions, QkNorm, Spec, Window};

pub const OLMO: Family = Family { name: "olmo", example: "allenai/OLMo-1B-hf", read: olmo };
pub const OLMO2: Family = Family { name: "olmo2", example: "allenai/OLMo-2-0425-1B", read: olmo2 };
pub const OLMO3: Family = Family { name: "olmo3", example: "allenai/Olmo-3-1025-7B", read: olmo3 };

fn olmo(config: &Fields) -> Result<(Spec, Names)> {
    let norm = NormSpec { affine: false, ..NormSpec::layer(1e-5) };
    let spec = Spec {
        biases: attention_biases(config)?,
        activation: config.activation("hidden_act")?,
        qkv_clip: config.number("clip_qkv", Allowed::SCALE)?,
        ..gated("olmo", config, norm, &Rule::WHOLE)?
    };
    Ok((spec, Names { initial: INITIAL, ..NAMES }))
}

fn olmo2(config: &Fields) -> Result<(Spec, Names)> {
    let spec = gated("olmo2", config, rms_norm(config)?, &Rule::WHOLE)?;
    Ok((normed_outputs(config, spec)?, names()))
}

fn olmo3(config: &Fields) -> Result<(Spec, Names)> {
    // rope_theta is of the layers without a window alone.
    let kinds = [("rope_theta", 5e5), ("", 5e5)];
    let [whole, local] = rotaries_by_kind(config, gated_head_dim(config)?, kinds)?;
    let spec = gated_at("olmo3", config, rms_norm(config)?, Positions::Rotary(whole))?;
    let size = config.positions("sliding_window")?;
    let window = layer_windows(config, spec.layers, size, |layer| (layer + 1) % 4 != 0)?;
    let window = window.map(|window| Window { rotary: Some(local), ..window });
    Ok((Spec { window, ..normed_outputs(config, spec)? }, names()))
}

/// What OLMo 2 and 3 have in common.
fn normed_outputs(config: &Fields, spec: Spec) -> Result<Spec> {
    Ok(Spec {
        norm_place: NormPlace::Outputs,
        qk_norm: Some(QkNorm::Whole),
        biases: attention_biases(config)?,
        activation: config.activation("hidden_act")?,
        ..spec
    })
}

fn attention_biases(config: &Fields) -> Result<Biases> {
    let bias = config.required("attention_bias")?;
    Ok(Biases { qkv: bias, attn_out: bias, ..Biases::NONE })
}

const INITIAL: Initial = Initial { padding: Padding::Token(Some(1)), ..NAMES.initial };

fn names() -> Names {
    Names {
        attn_norm: "post_attention_layernorm",
        qk_norms: Some(["self_attn.q_norm", "self_attn.k_norm"]),
        mlp_norm: "post_feedforward_layernorm",
        initial: INITIAL,
        ..NAMES
    }
}
