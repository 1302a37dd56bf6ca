//! Gemma, Gemma 2 and 3 (Gemma Team 2024, 2024, 2025), after transformers' `modeling_gemma{,2,3}.py`:
//! Llama's block with gains that are stored minus 1, and embeddings multiplied by √d. Gemma 2 and 3 have
//! norms before and after each sub-block, and a sliding window in most layers. Gemma 2 has soft caps on
//! scores and logits. Gemma 3 has norms of queries and keys, and other rotary frequencies in the layers
//! with a window.

use crate::Result;
use crate::model::family::reading::{
    Rule, gated, gated_at, gated_head_dim, layer_windows, rms_norm, rotaries_by_kind, rotary,
};
use crate::model::family::{Family, Initial, NAMES, Names, Padding};
use crate::model::load::config::{Allowed, Fields};
use crate::model::spec::{
    Activation, Biases, NormPlace, NormSpec, Positions, QkNorm, Spec, Window,
};

pub const GEMMA: Family = Family { name: "gemma", example: "google/gemma-2b", read: gemma };
pub const GEMMA2: Family = Family { name: "gemma2", example: "google/gemma-2-2b", read: gemma2 };
pub const GEMMA3: Family =
    Family { name: "gemma3_text", example: "google/gemma-3-1b-pt", read: gemma3 };

fn gemma(config: &Fields) -> Result<(Spec, Names)> {
    // transformers reads it, and masks later tokens all the same.
    config.ignore(&["use_bidirectional_attention"]);
    let bias = config.required("attention_bias")?;
    let norm = NormSpec { gain_less_one: true, ..rms_norm(config)? };
    let spec = gated("gemma", config, norm, &Rule::WHOLE)?;
    let spec = Spec {
        embedding_scale: Some((spec.hidden as f64).sqrt()),
        // The first checkpoints say gelu, and were trained with its approximation.
        activation: match config.required::<String>("hidden_act")?.as_str() {
            "gelu" => Activation::GeluTanh,
            _ => config.activation("hidden_act")?,
        },
        biases: Biases { qkv: bias, attn_out: bias, ..Biases::NONE },
        ..spec
    };
    Ok((spec, Names { initial: INITIAL, ..NAMES }))
}

fn gemma2(config: &Fields) -> Result<(Spec, Names)> {
    // transformers reads it, and masks later tokens all the same.
    config.ignore(&["use_bidirectional_attention"]);
    let positions = Positions::Rotary(rotary(config, gated_head_dim(config)?, &Rule::WHOLE)?);
    let spec = base("gemma2", config, positions)?;
    let size = config.positions("sliding_window")?;
    let window = layer_windows(config, spec.layers, size, |layer| (layer + 1) % 2 != 0)?;
    Ok((Spec { window, ..spec }, names()))
}

fn gemma3(config: &Fields) -> Result<(Spec, Names)> {
    let bases = [("rope_theta", 1e6), ("rope_local_base_freq", 1e4)];
    let [whole, local] = rotaries_by_kind(config, gated_head_dim(config)?, bases)?;
    let spec = base("gemma3_text", config, Positions::Rotary(whole))?;
    let pattern = config.size_or("sliding_window_pattern", 6)?;
    let bidirectional = config.or("use_bidirectional_attention", false)?;
    let size = config.positions("sliding_window")?;
    // A window of both directions is as wide as one of the past alone.
    let size = if bidirectional { size.map(|size| size / 2 + 1) } else { size };
    let window = layer_windows(config, spec.layers, size, |layer| (layer + 1) % pattern != 0)?;
    let window = window.map(|window| Window { rotary: Some(local), ..window });
    let spec = Spec { qk_norm: Some(QkNorm::Shared), bidirectional, window, ..spec };
    Ok((spec, Names { qk_norms: Some(["self_attn.q_norm", "self_attn.k_norm"]), ..names() }))
}

/// What Gemma 2 and 3 have in common.
fn base(family: &'static str, config: &Fields, positions: Positions) -> Result<Spec> {
    // hidden_activation replaces it.
    config.ignore(&["hidden_act"]);
    let bias = config.required("attention_bias")?;
    let norm = NormSpec { gain_less_one: true, ..rms_norm(config)? };
    let spec = gated_at(family, config, norm, positions)?;
    let scalar = config.required_number("query_pre_attn_scalar", Allowed::SCALE)?;
    Ok(Spec {
        embedding_scale: Some((spec.hidden as f64).sqrt()),
        norm_place: NormPlace::Both,
        activation: config.activation("hidden_activation")?,
        score_scale: scalar.powf(-0.5),
        score_cap: config.number("attn_logit_softcapping", Allowed::SCALE)?,
        logit_cap: config.number("final_logit_softcapping", Allowed::SCALE)?,
        biases: Biases { qkv: bias, attn_out: bias, ..Biases::NONE },
        ..spec
    })
}

const INITIAL: Initial = Initial { padding: Padding::Token(Some(0)), ..NAMES.initial };

fn names() -> Names {
    Names {
        attn_out_norm: Some("post_attention_layernorm"),
        mlp_norm: "pre_feedforward_layernorm",
        mlp_out_norm: Some("post_feedforward_layernorm"),
        initial: INITIAL,
        ..NAMES
    }
}
