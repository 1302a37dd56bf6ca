//! Granite-MoE (IBM 2024), after transformers' `modeling_granitemoe.py`: Granite's block, with its factors,
//! and experts in place of the MLP.

use super::experts;
use crate::Result;
use crate::model::family::reading::{Rule, gated, rms_norm};
use crate::model::family::{ExpertNames, ExpertsIn, Family, NAMES, Names};
use crate::model::load::config::{Allowed, Fields};
use crate::model::spec::{Biases, RouterSpec, Scores, Spec};

pub const FAMILY: Family =
    Family { name: "granitemoe", example: "ibm-granite/granite-3.0-1b-a400m-base", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    let bias = config.required("attention_bias")?;
    let factor = |name| config.required_number(name, Allowed::SCALE);
    let spec = gated("granitemoe", config, rms_norm(config)?, &Rule::WHOLE)?;
    let router = RouterSpec { scores: Scores::SoftmaxOfChosen, ..RouterSpec::SOFTMAX };
    let sizes = ["num_local_experts", "num_experts_per_tok", "intermediate_size"];
    let spec = Spec {
        embedding_scale: Some(factor("embedding_multiplier")?),
        score_scale: factor("attention_multiplier")?,
        residual_scale: Some(factor("residual_multiplier")?),
        logit_scale: Some(1.0 / factor("logits_scaling")?),
        activation: config.activation("hidden_act")?,
        biases: Biases { qkv: bias, attn_out: bias, ..Biases::NONE },
        experts: Some(experts(config, spec.layers, sizes, router, |_| true)?),
        ..spec
    };
    let experts = ExpertNames {
        router: "block_sparse_moe.router.layer",
        experts: ExpertsIn::Stacked {
            input: "block_sparse_moe.input_linear",
            output: "block_sparse_moe.output_linear",
        },
        ..ExpertNames::USUAL
    };
    Ok((spec, Names { experts: Some(experts), ..NAMES }))
}
