//! OLMoE (Muennighoff et al. 2024), after transformers' `modeling_olmoe.py`: Llama's block with experts in
//! place of the MLP, and one norm over the queries of all heads and one over the keys.

use super::experts;
use crate::Result;
use crate::model::family::reading::{Rule, gated, rms_norm};
use crate::model::family::{ExpertNames, Family, Initial, NAMES, Names, Padding};
use crate::model::load::config::{Allowed, Fields};
use crate::model::spec::{Biases, QkNorm, RouterSpec, Spec};

pub const FAMILY: Family = Family { name: "olmoe", example: "allenai/OLMoE-1B-7B-0924", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    let bias = config.required("attention_bias")?;
    let spec = gated("olmoe", config, rms_norm(config)?, &Rule::WHOLE)?;
    let router = RouterSpec {
        normalised: config.required::<bool>("norm_topk_prob")?.then_some(0.0),
        ..RouterSpec::SOFTMAX
    };
    let sizes = ["num_experts", "num_experts_per_tok", "intermediate_size"];
    let spec = Spec {
        activation: config.activation("hidden_act")?,
        qk_norm: Some(QkNorm::Whole),
        qkv_clip: config.number("clip_qkv", Allowed::SCALE)?,
        biases: Biases { qkv: bias, attn_out: bias, ..Biases::NONE },
        experts: Some(experts(config, spec.layers, sizes, router, |_| true)?),
        ..spec
    };
    let names = Names {
        qk_norms: Some(["self_attn.q_norm", "self_attn.k_norm"]),
        experts: Some(ExpertNames::USUAL),
        initial: Initial { padding: Padding::Token(Some(1)), ..NAMES.initial },
        ..NAMES
    };
    Ok((spec, names))
}
