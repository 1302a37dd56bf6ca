//! Families some of whose layers know no positions, after transformers'
//! `modeling_{smollm3,exaone4}.py`. SmolLM3 (Hugging Face 2025) is Llama's block, and every fourth layer
//! is not rotated. EXAONE 4 (LG AI Research 2025) norms the outputs of attention and MLP, and each query
//! and key; its larger model has a sliding window in three layers of four, which alone are rotated.

use crate::model::family::reading::{Rule, gated, layer_windows, rms_norm};
use crate::model::family::{Family, Initial, NAMES, Names, Padding};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, NormPlace, QkNorm, Spec};
use crate::{Result, bail};

pub const SMOLLM3: Family =
    Family { name: "smollm3", example: "HuggingFaceTB/SmolLM3-3B-Base", read: smollm3 };
pub const EXAONE4: Family =
    Family { name: "exaone4", example: "LGAI-EXAONE/EXAONE-4.0-1.2B", read: exaone4 };

fn smollm3(config: &Fields) -> Result<(Spec, Names)> {
    let bias = config.required("attention_bias")?;
    let rule = Rule { default_theta: 2e6, ..Rule::WHOLE };
    let spec = gated("smollm3", config, rms_norm(config)?, &rule)?;
    let interval = config.size_or("no_rope_layer_interval", 4)?;
    let rotated: Vec<bool> = match config.optional::<Vec<f64>>("no_rope_layers")? {
        Some(given) if given.len() < spec.layers => {
            bail!("config.json: no_rope_layers names {} layers of {}", given.len(), spec.layers)
        }
        // 1 says that the layer is rotated, whatever the name says.
        Some(given) => given.iter().take(spec.layers).map(|rotated| *rotated != 0.0).collect(),
        None => (0..spec.layers).map(|layer| !(layer + 1).is_multiple_of(interval)).collect(),
    };
    let size = match config.required("use_sliding_window")? {
        true => config.positions("sliding_window")?,
        false => None,
    };
    config.ignore(&["sliding_window"]);
    let window =
        layer_windows(config, spec.layers, size, |layer| size.is_some() && !rotated[layer])?;
    let spec = Spec {
        without_rotary: (0..spec.layers).filter(|layer| !rotated[*layer]).collect(),
        window,
        biases: Biases {
            qkv: bias,
            attn_out: bias,
            mlp: config.required("mlp_bias")?,
            ..Biases::NONE
        },
        activation: config.activation("hidden_act")?,
        ..spec
    };
    let initial = Initial { padding: Padding::Token(Some(128_004)), ..NAMES.initial };
    Ok((spec, Names { initial, ..NAMES }))
}

fn exaone4(config: &Fields) -> Result<(Spec, Names)> {
    let spec = gated("exaone4", config, rms_norm(config)?, &Rule::WHOLE)?;
    let size = config.positions("sliding_window")?;
    // The pattern, which may be a string, is read only where layer_types does not say the same.
    let listed = config.optional::<Vec<String>>("layer_types")?.is_some();
    let pattern = match size {
        Some(_) if !listed => config.size_or("sliding_window_pattern", 4)?,
        _ => 1,
    };
    config.ignore(&["sliding_window_pattern"]);
    let window = layer_windows(config, spec.layers, size, |layer| (layer + 1) % pattern != 0)?;
    let without_rotary = match &window {
        Some(window) => (0..spec.layers).filter(|layer| !window.layers[*layer]).collect(),
        None => Vec::new(),
    };
    let spec = Spec {
        norm_place: NormPlace::Outputs,
        qk_norm: Some(QkNorm::Shared),
        activation: config.activation("hidden_act")?,
        without_rotary,
        window,
        ..spec
    };
    let names = Names {
        attn_norm: "post_attention_layernorm",
        qk_norms: Some(["self_attn.q_norm", "self_attn.k_norm"]),
        mlp_norm: "post_feedforward_layernorm",
        ..NAMES
    };
    Ok((spec, names))
}
