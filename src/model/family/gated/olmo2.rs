//! OLMo 2 (Walsh et al. 2025), after transformers' `modeling_olmo2.py`: Llama's block with the norms
//! on the outputs of attention and MLP instead of their inputs, and with one norm over the queries of
//! all heads and one over the keys.

use crate::Result;
use crate::model::family::reading::{Rule, gated, rms_norm};
use crate::model::family::{Family, Initial, NAMES, Names, Padding};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, NormPlace, QkNorm, Spec};

pub const FAMILY: Family = Family { name: "olmo2", example: "allenai/OLMo-2-0425-1B", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    let bias = config.required("attention_bias")?;
    let spec = Spec {
        norm_place: NormPlace::Outputs,
        qk_norm: Some(QkNorm::Whole),
        biases: Biases { qkv: bias, attn_out: bias, ..Biases::NONE },
        activation: config.activation("hidden_act")?,
        ..gated("olmo2", config, rms_norm(config)?, &Rule::WHOLE)?
    };
    let names = Names {
        attn_norm: "post_attention_layernorm",
        qk_norms: Some(["self_attn.q_norm", "self_attn.k_norm"]),
        mlp_norm: "post_feedforward_layernorm",
        initial: Initial { padding: Padding::Token(Some(1)), ..NAMES.initial },
        ..NAMES
    };
    Ok((spec, names))
}
