//! Command R and Command R7B (Cohere 2024), after transformers' `modeling_cohere{,2}.py`: attention
//! and a gated MLP in parallel behind one layer norm without bias, rotary positions that pair
//! neighbouring dimensions, and a factor on the logits. Command R+ norms each head's queries and keys.
//! Command R7B has a sliding window in three layers of four, and no positions in the others.

use crate::Result;
use crate::model::family::reading::{Rule, gated, layer_norm, layer_windows};
use crate::model::family::{Family, Initial, NAMES, Names, Padding};
use crate::model::load::config::{Allowed, Fields};
use crate::model::spec::{Biases, Pairs, QkNorm, Spec};

pub const COHERE: Family =
    Family { name: "cohere", example: "CohereLabs/c4ai-command-r-v01", read: cohere };
pub const COHERE2: Family =
    Family { name: "cohere2", example: "CohereLabs/c4ai-command-r7b-12-2024", read: cohere2 };

fn cohere(config: &Fields) -> Result<(Spec, Names)> {
    let rule = Rule { default_theta: 5e5, ..ROTARY };
    let qk_norm = config.or("use_qk_norm", false)?.then_some(QkNorm::PerHead);
    let names = Names {
        qk_norms: Some(["self_attn.q_norm", "self_attn.k_norm"]),
        qk_norms_in_one: true,
        ..names()
    };
    Ok((Spec { qk_norm, ..block("cohere", config, &rule)? }, names))
}

fn cohere2(config: &Fields) -> Result<(Spec, Names)> {
    let spec = block("cohere2", config, &ROTARY)?;
    let pattern = config.size_or("sliding_window_pattern", 4)?;
    let size = config.positions("sliding_window")?;
    let window = layer_windows(config, spec.layers, size, |layer| (layer + 1) % pattern != 0)?;
    let is_windowed = |layer: &usize| window.as_ref().is_some_and(|it| it.layers[*layer]);
    let without_rotary = (0..spec.layers).filter(|layer| !is_windowed(layer)).collect();
    Ok((Spec { without_rotary, window, ..spec }, names()))
}

const ROTARY: Rule = Rule { pairs: Pairs::Neighbours, ..Rule::WHOLE };

fn block(family: &'static str, config: &Fields, rule: &Rule) -> Result<Spec> {
    let bias = config.required("attention_bias")?;
    Ok(Spec {
        parallel: true,
        activation: config.activation("hidden_act")?,
        logit_scale: Some(config.required_number("logit_scale", Allowed::SCALE)?),
        biases: Biases { qkv: bias, attn_out: bias, ..Biases::NONE },
        ..gated(family, config, layer_norm(config, "layer_norm_eps")?, rule)?
    })
}

fn names() -> Names {
    Names {
        mlp_norm: "input_layernorm",
        initial: Initial { padding: Padding::Token(Some(0)), ..NAMES.initial },
        ..NAMES
    }
}
