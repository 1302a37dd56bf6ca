//! Gemma 2 and 3 (Gemma Team 2024, 2025), after transformers' `modeling_gemma{2,3}.py`: RMS norms
//! before and after each sub-block, with gains that are stored minus 1; embeddings multiplied by √d;
//! a sliding window in most layers. Gemma 2 has soft caps on scores and logits. Gemma 3 has norms of
//! queries and keys, and other rotary frequencies in the layers with a window.

use super::{
    Family, Initial, NAMES, Names, Padding, gated_at, gated_head_dim, rms_norm, rotary,
    rotary_scaling, rotary_spec,
};
use crate::model::load::config::{Allowed, Fields};
use crate::model::spec::{
    Activation, Biases, NormPlace, NormSpec, Pairs, Positions, QkNorm, RotarySpec, Spec, Window,
};
use crate::{Result, bail};

pub const GEMMA2: Family = Family { name: "gemma2", example: "google/gemma-2-2b", read: gemma2 };
pub const GEMMA3: Family =
    Family { name: "gemma3_text", example: "google/gemma-3-1b-pt", read: gemma3 };

fn gemma2(config: &Fields) -> Result<(Spec, Names)> {
    let positions = Positions::Rotary(rotary(config, gated_head_dim(config)?, 1.0)?);
    let spec = base("gemma2", config, positions)?;
    let spec = Spec {
        score_cap: capped(config, "attn_logit_softcapping", Some(50.0))?,
        logit_cap: capped(config, "final_logit_softcapping", Some(30.0))?,
        window: window(config, 2, spec.layers)?,
        ..spec
    };
    Ok((spec, names()))
}

fn gemma3(config: &Fields) -> Result<(Spec, Names)> {
    let [whole, local] = rotaries(config, gated_head_dim(config)?)?;
    let spec = base("gemma3_text", config, Positions::Rotary(whole))?;
    let pattern = config.size_or("sliding_window_pattern", 6)?;
    let window = window(config, pattern, spec.layers)?
        .map(|window| Window { rotary: Some(local), ..window });
    let spec = Spec {
        qk_norm: Some(QkNorm::Shared),
        score_cap: capped(config, "attn_logit_softcapping", None)?,
        logit_cap: capped(config, "final_logit_softcapping", None)?,
        window,
        ..spec
    };
    Ok((spec, Names { qk_norms: Some(["self_attn.q_norm", "self_attn.k_norm"]), ..names() }))
}

/// What Gemma 2 and 3 have in common.
fn base(family: &'static str, config: &Fields, positions: Positions) -> Result<Spec> {
    config.only("use_bidirectional_attention", false)?;
    // hidden_activation replaces it.
    config.ignore(&["hidden_act"]);
    let bias = config.optional("attention_bias")?.unwrap_or(false);
    let norm = NormSpec { gain_less_one: true, ..rms_norm(config, 1e-6)? };
    let spec = gated_at(family, config, norm, positions)?;
    let scalar = config.number("query_pre_attn_scalar", Allowed::SCALE)?.unwrap_or(256.0);
    Ok(Spec {
        embedding_scale: Some((spec.hidden as f64).sqrt()),
        norm_place: NormPlace::Both,
        activation: match config.optional::<String>("hidden_activation")? {
            Some(_) => config.activation("hidden_activation", "")?,
            None => Activation::GeluTanh,
        },
        score_scale: scalar.powf(-0.5),
        biases: Biases { qkv: bias, attn_out: bias, ..Biases::NONE },
        tied: config.optional("tie_word_embeddings")?.unwrap_or(true),
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

/// A soft cap. A field that is null means no cap, one that is absent the default.
fn capped(config: &Fields, name: &'static str, default: Option<f64>) -> Result<Option<f64>> {
    Ok(if config.has(name) { config.number(name, Allowed::SCALE)? } else { default })
}

/// The sliding window. Every `pattern`th layer attends to all keys and the others have the window,
/// unless `layer_types` says otherwise.
fn window(config: &Fields, pattern: usize, layers: usize) -> Result<Option<Window>> {
    let size = config.positions("sliding_window")?.unwrap_or(4096);
    let layers = match config.optional::<Vec<String>>("layer_types")? {
        None => (1..=layers).map(|layer| layer % pattern != 0).collect(),
        Some(kinds) if kinds.len() != layers => {
            bail!("config.json: layer_types names {} layers of {layers}", kinds.len())
        }
        Some(kinds) => kinds
            .iter()
            .map(|kind| match kind.as_str() {
                "sliding_attention" => Ok(true),
                "full_attention" => Ok(false),
                other => bail!("config.json: layer_types has {other:?}, which can't be honoured"),
            })
            .collect::<Result<_>>()?,
    };
    Ok(Some(Window { size, layers, rotary: None }))
}

/// Gemma 3's rotary embeddings: those of the layers without a window, then those of the layers with
/// one. `rope_parameters` (since transformers 5) has a map for each kind of layer; older configs have
/// `rope_theta` with `rope_scaling`, and `rope_local_base_freq`.
fn rotaries(config: &Fields, head_dim: usize) -> Result<[RotarySpec; 2]> {
    if let Some(kinds) = config.nested("rope_parameters")? {
        let one = |name: &'static str, default: f64| -> Result<RotarySpec> {
            let Some(fields) = kinds.nested(name)? else { return plain(head_dim, default) };
            let theta = fields.number("rope_theta", Allowed::THETA)?.unwrap_or(default);
            let scaling = rotary_scaling(config, &fields)?;
            fields.finish()?;
            rotary_spec(head_dim, head_dim, theta, Pairs::Halves, scaling)
        };
        let both = [one("full_attention", 1e6)?, one("sliding_attention", 1e4)?];
        kinds.finish()?;
        return Ok(both);
    }
    let theta = config.number("rope_theta", Allowed::THETA)?.unwrap_or(1e6);
    let scaling = match config.nested("rope_scaling")? {
        Some(fields) => {
            let scaling = rotary_scaling(config, &fields)?;
            fields.finish()?;
            scaling
        }
        None => None,
    };
    let local = config.number("rope_local_base_freq", Allowed::THETA)?.unwrap_or(1e4);
    Ok([rotary_spec(head_dim, head_dim, theta, Pairs::Halves, scaling)?, plain(head_dim, local)?])
}

/// Rotary embeddings of whole heads, without scaling.
fn plain(head_dim: usize, theta: f64) -> Result<RotarySpec> {
    rotary_spec(head_dim, head_dim, theta, Pairs::Halves, None)
}
