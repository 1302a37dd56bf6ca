//! Mixtral (Jiang et al. 2024), after transformers' `modeling_mixtral.py`: Mistral's block with experts in
//! place of the MLP. The softmax of the router's scores is taken over the chosen experts.

use super::experts;
use crate::Result;
use crate::model::family::reading::{Rule, gated, rms_norm, windowed_everywhere};
use crate::model::family::{ExpertNames, ExpertsIn, Family, NAMES, Names};
use crate::model::load::config::Fields;
use crate::model::spec::{RouterSpec, Scores, Spec};

pub const FAMILY: Family = Family { name: "mixtral", example: "mistralai/Mixtral-8x7B-v0.1", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    let rule = Rule { default_theta: 1e6, ..Rule::WHOLE };
    let spec = gated("mixtral", config, rms_norm(config)?, &rule)?;
    let router = RouterSpec { scores: Scores::SoftmaxOfChosen, ..RouterSpec::SOFTMAX };
    let sizes = ["num_local_experts", "num_experts_per_tok", "intermediate_size"];
    let spec = Spec {
        activation: config.activation("hidden_act")?,
        window: windowed_everywhere(config, spec.layers)?,
        experts: Some(experts(config, spec.layers, sizes, router, |_| true)?),
        ..spec
    };
    let experts = ExpertNames {
        router: "block_sparse_moe.gate",
        experts: ExpertsIn::Each { list: "block_sparse_moe.experts", matrices: ["w1", "w3", "w2"] },
        ..ExpertNames::USUAL
    };
    Ok((spec, Names { experts: Some(experts), ..NAMES }))
}
