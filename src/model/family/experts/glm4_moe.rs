//! GLM-4.5 (Zeng et al. 2025), after transformers' `modeling_glm4_moe.py`: Llama's block, half of each head
//! rotated, and after the first layers experts in place of the MLP, chosen as DeepSeek 3 chooses them.

use super::{GROUPED, deepseek_router, experts, first_layers_plain};
use crate::Result;
use crate::model::family::reading::{OddPart, Rule, gated, rms_norm};
use crate::model::family::{ExpertNames, Family, NAMES, Names};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, ExpertsSpec, QkNorm, Spec};

pub const FAMILY: Family = Family { name: "glm4_moe", example: "zai-org/GLM-4.5-Air", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    // A head that predicts further tokens, which transformers does not load.
    config.ignore(&["num_mtp_layers", "num_nextn_predict_layers"]);
    let bias = config.required("attention_bias")?;
    let spec = gated("glm4_moe", config, rms_norm(config)?, &Rule::share(0.5, OddPart::Refused))?;
    let first = first_layers_plain(config)?;
    let experts = ExpertsSpec {
        shared: super::shared_experts(config)?,
        ..experts(config, spec.layers, GROUPED, deepseek_router(config)?, |layer| layer >= first)?
    };
    let normed: bool = config.required("use_qk_norm")?;
    let spec = Spec {
        activation: config.activation("hidden_act")?,
        qk_norm: normed.then_some(QkNorm::Shared),
        biases: Biases { qkv: bias, ..Biases::NONE },
        experts: Some(experts),
        ..spec
    };
    let names = Names {
        qk_norms: Some(["self_attn.q_norm", "self_attn.k_norm"]),
        experts: Some(ExpertNames {
            correction: Some("mlp.gate.e_score_correction_bias"),
            shared: Some("mlp.shared_experts"),
            ..ExpertNames::USUAL
        }),
        ..NAMES
    };
    Ok((spec, names))
}
