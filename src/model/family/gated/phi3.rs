//! Phi-3 (Abdin et al. 2024), after transformers' `modeling_phi3.py`: Llama's block with queries,
//! keys and values in one matrix and both branches of the gated MLP in another. The long-context
//! checkpoints use LongRoPE.

use crate::Result;
use crate::model::family::reading::{OddPart, Rule, gated, rms_norm, windowed_everywhere};
use crate::model::family::{Family, Initial, MlpIn, NAMES, Names, Padding, Qkv};
use crate::model::load::config::Fields;
use crate::model::spec::Spec;

pub const FAMILY: Family =
    Family { name: "phi3", example: "microsoft/Phi-3-mini-4k-instruct", read };

const ROTARY: Rule = Rule { only_long_rope: true, ..Rule::share(1.0, OddPart::RoundedUp) };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    config.only("attention_bias", false)?;
    let spec = gated("phi3", config, rms_norm(config)?, &ROTARY)?;
    let spec = Spec {
        activation: config.activation("hidden_act")?,
        window: windowed_everywhere(config, spec.layers)?,
        ..spec
    };
    let names = Names {
        qkv: Qkv::Stacked("self_attn.qkv_proj"),
        mlp_in: MlpIn::Stacked("mlp.gate_up_proj"),
        initial: Initial { padding: Padding::Token(Some(32000)), ..NAMES.initial },
        ..NAMES
    };
    Ok((spec, names))
}
