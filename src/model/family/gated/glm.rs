//! GLM-4 (Zeng et al. 2024) and GLM-4-0414, after transformers' `modeling_glm{,4}.py`: Llama's block
//! with both branches of the gated MLP in one matrix, rotary positions on a half of each head that pair
//! neighbouring dimensions, and biases on the projections of queries, keys and values. GLM-4-0414 also
//! norms what attention and the MLP add to the stream.

use crate::Result;
use crate::model::family::reading::{OddPart, Rule, gated, rms_norm};
use crate::model::family::{Family, Initial, MlpIn, NAMES, Names, Padding};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, NormPlace, Pairs, Spec};

pub const GLM: Family = Family { name: "glm", example: "zai-org/glm-4-9b-hf", read: glm };
pub const GLM4: Family = Family { name: "glm4", example: "zai-org/GLM-4-9B-0414", read: glm4 };

const ROTARY: Rule = Rule { pairs: Pairs::Neighbours, ..Rule::share(0.5, OddPart::RoundedUp) };

fn glm(config: &Fields) -> Result<(Spec, Names)> {
    Ok((block("glm", config)?, names()))
}

fn glm4(config: &Fields) -> Result<(Spec, Names)> {
    let names = Names {
        attn_out_norm: Some("post_self_attn_layernorm"),
        mlp_out_norm: Some("post_mlp_layernorm"),
        ..names()
    };
    Ok((Spec { norm_place: NormPlace::Both, ..block("glm4", config)? }, names))
}

fn block(family: &'static str, config: &Fields) -> Result<Spec> {
    Ok(Spec {
        activation: config.activation("hidden_act")?,
        biases: Biases { qkv: config.required("attention_bias")?, ..Biases::NONE },
        ..gated(family, config, rms_norm(config)?, &ROTARY)?
    })
}

fn names() -> Names {
    Names {
        mlp_in: MlpIn::Stacked("mlp.gate_up_proj"),
        initial: Initial { padding: Padding::Token(Some(151_329)), ..NAMES.initial },
        ..NAMES
    }
}
