//! Nemotron-4 and Minitron (Parmar et al. 2024), after transformers' `modeling_nemotron.py`: layer
//! norms whose gains are stored minus 1, a plain MLP with squared ReLU, rotary positions on a half of
//! each head, grouped key/value heads.

use crate::Result;
use crate::model::family::reading::{OddPart, Rule, gated_head_dim, layer_norm, rotary, usual};
use crate::model::family::{Family, MlpIn, NAMES, Names};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, NormSpec, Positions, Spec};

pub const FAMILY: Family = Family { name: "nemotron", example: "nvidia/Minitron-4B-Base", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    let head_dim = gated_head_dim(config)?;
    let rule = Rule::share(0.5, OddPart::RoundedUp);
    let positions = Positions::Rotary(rotary(config, head_dim, &rule)?);
    let norm = NormSpec { gain_less_one: true, ..layer_norm(config, "norm_eps")? };
    let attention = config.required("attention_bias")?;
    let spec = Spec {
        activation: config.activation("hidden_act")?,
        biases: Biases {
            qkv: attention,
            attn_out: attention,
            mlp: config.required("mlp_bias")?,
            ..Biases::INSIDE
        },
        ..usual("nemotron", config, norm, positions, head_dim)?
    };
    Ok((spec, Names { mlp_in: MlpIn::Plain("mlp.up_proj"), ..NAMES }))
}
