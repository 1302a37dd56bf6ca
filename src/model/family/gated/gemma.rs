//! Gemma 2 and 3 (Gemma Team 2024, 2025), after transformers' `modeling_gemma{2,3}.py`: RMS norms
//! before and after each sub-block, with gains that are stored minus 1; embeddings multiplied by √d;
//! a sliding window in most layers. Gemma 2 has soft caps on scores and logits. Gemma 3 has norms of
//! queries and keys, and other rotary frequencies in the layers with a window.

use crate::model::family::reading::{
    OddPart, Rule, gated_at, gated_head_dim, layer_windows, rms_norm, rotary, rotary_scaling,
    rotary_spec, scaled,
};
use crate::model::family::{Family, Initial, NAMES, Names, Padding};
use crate::model::load::config::{Allowed, Fields};
use crate::model::spec::{
    Biases, NormPlace, NormSpec, Pairs, Positions, QkNorm, RotarySpec, Spec, Window,
};
use crate::{Result, bail};

pub const GEMMA2: Family = Family { name: "gemma2", example: "google/gemma-2-2b", read: gemma2 };
pub const GEMMA3: Family =
    Family { name: "gemma3_text", example: "google/gemma-3-1b-pt", read: gemma3 };

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
    let [whole, local] = rotaries(config, gated_head_dim(config)?)?;
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

fn names() -> Names {
    Names {
        attn_out_norm: Some("post_attention_layernorm"),
        mlp_norm: "pre_feedforward_layernorm",
        mlp_out_norm: Some("post_feedforward_layernorm"),
        initial: Initial { padding: Padding::Token(Some(0)), ..NAMES.initial },
        ..NAMES
    }
}

/// Gemma 3's rotary embeddings: those of the layers without a window, then those of the layers with
/// one. `rope_parameters` (since transformers 5) has a map for each kind of layer; older configs have
/// `rope_theta` with `rope_scaling`, and `rope_local_base_freq`.
fn rotaries(config: &Fields, head_dim: usize) -> Result<[RotarySpec; 2]> {
    let older = config.nested("rope_scaling")?;
    let kinds = config.nested("rope_parameters")?;
    if older.is_some() && kinds.is_some() {
        bail!(
            "config.json has rope_scaling and rope_parameters, which say the same: leave out one"
        );
    }
    let one = |kind: &'static str, older: Option<Fields>, name: &'static str, default: f64| {
        let of_kind = kinds.as_ref().map(|kinds| kinds.nested(kind)).transpose()?.flatten();
        let map = of_kind.or(older);
        let given = match &map {
            Some(map) => map.given_number("rope_theta", Allowed::THETA)?,
            None => None,
        };
        let theta = match given {
            Some(theta) => theta,
            None => config.given_number(name, Allowed::THETA)?.unwrap_or(default),
        };
        config.ignore(&[name]);
        let scaling = match &map {
            Some(map) => rotary_scaling(config, map, false)?,
            None => None,
        };
        if let Some(map) = &map {
            let part = map.given_number("partial_rotary_factor", Allowed::PART)?;
            if scaling.is_some() && part.is_some_and(|part| part != 1.0) {
                bail!("config.json: partial_rotary_factor can't be honoured in Gemma 3");
            }
            map.finish_rotary();
        }
        let spec = rotary_spec(head_dim, head_dim, OddPart::Refused, theta, Pairs::Halves)?;
        scaled(spec, scaling)
    };
    let both = [
        one("full_attention", older, "rope_theta", 1e6)?,
        one("sliding_attention", None, "rope_local_base_freq", 1e4)?,
    ];
    if let Some(kinds) = &kinds {
        kinds.finish_rotary();
    }
    Ok(both)
}
