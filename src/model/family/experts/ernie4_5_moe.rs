//! ERNIE 4.5's mixtures of experts (Baidu 2025), after transformers' `modeling_ernie4_5_moe.py`: ERNIE 4.5's
//! block, rotated in neighbours, and experts in place of the MLP in the layers that the config says. A
//! stored correction joins the shares by which experts are chosen.

use super::experts;
use crate::Result;
use crate::model::family::reading::{Rule, gated, rms_norm};
use crate::model::family::{ExpertNames, Family, Initial, NAMES, Names, Padding};
use crate::model::load::config::{Allowed, Fields};
use crate::model::spec::{ExpertsSpec, Pairs, RouterSpec, SharedExpert, Spec};

pub const FAMILY: Family =
    Family { name: "ernie4_5_moe", example: "baidu/ERNIE-4.5-21B-A3B-PT", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    config.only("use_bias", false)?;
    let rule = Rule { pairs: Pairs::Neighbours, default_theta: 5e5, ..Rule::WHOLE };
    let spec = gated("ernie4_5_moe", config, rms_norm(config)?, &rule)?;
    let first = config.required::<usize>("moe_layer_start_index")?;
    let last = match config.required::<f64>("moe_layer_end_index")? {
        -1.0 => spec.layers - 1,
        last => last as usize,
    };
    let interval = config.size_or("moe_layer_interval", 1)?;
    let router = RouterSpec {
        corrected: true,
        normalised: Some(config.required_number("moe_norm_min", Allowed::NOT_NEGATIVE)?),
        ..RouterSpec::SOFTMAX
    };
    let sizes = ["moe_num_experts", "moe_k", "moe_intermediate_size"];
    let experts = experts(config, spec.layers, sizes, router, |layer| {
        (layer + 1).is_multiple_of(interval) && (first..=last).contains(&layer)
    })?;
    let shared = match config.required::<usize>("moe_num_shared_experts")? {
        0 => None,
        _ => {
            let count = config.size("moe_num_shared_experts")?;
            Some(SharedExpert { feed_forward: count * experts.feed_forward, gated: false })
        }
    };
    let spec = Spec {
        activation: config.activation("hidden_act")?,
        experts: Some(ExpertsSpec { shared, ..experts }),
        ..spec
    };
    let names = Names {
        experts: Some(ExpertNames {
            correction: Some("mlp.moe_statics.e_score_correction_bias"),
            shared: Some("mlp.shared_experts"),
            ..ExpertNames::USUAL
        }),
        initial: Initial { padding: Padding::Token(Some(0)), ..NAMES.initial },
        ..NAMES
    };
    Ok((spec, names))
}
