//! Qwen2-MoE and Qwen3-MoE (Qwen Team 2024, 2025), after transformers' `modeling_qwen{2,3}_moe.py`: Qwen2's
//! and Qwen3's blocks with experts in place of most layers' MLPs. Qwen2-MoE has one more expert that
//! every token has, times the logistic function of a score of its own.

use super::experts;
use crate::Result;
use crate::model::family::reading::{Rule, gated, layer_windows, rms_norm, windowed_everywhere};
use crate::model::family::{ExpertNames, Family, NAMES, Names};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, ExpertsSpec, QkNorm, RouterSpec, SharedExpert, Spec};

pub const QWEN2_MOE: Family =
    Family { name: "qwen2_moe", example: "Qwen/Qwen1.5-MoE-A2.7B", read: qwen2_moe };
pub const QWEN3_MOE: Family =
    Family { name: "qwen3_moe", example: "Qwen/Qwen3-30B-A3B", read: qwen3_moe };

fn qwen2_moe(config: &Fields) -> Result<(Spec, Names)> {
    let spec = block("qwen2_moe", config)?;
    let windowed = config.required("use_sliding_window")?;
    let size = match windowed {
        true => config.positions("sliding_window")?,
        false => None,
    };
    let first_whole = config.or("max_window_layers", 28usize)?;
    config.ignore(&["sliding_window"]);
    let window = layer_windows(config, spec.layers, size, |layer| {
        windowed && layer % 2 == 0 && layer < first_whole
    })?;
    let shared =
        SharedExpert { feed_forward: config.size("shared_expert_intermediate_size")?, gated: true };
    let experts =
        ExpertsSpec { shared: Some(shared), ..sparse_layers(config, spec.layers, "num_experts")? };
    let bias = config.required("qkv_bias")?;
    let spec = Spec {
        window,
        biases: Biases { qkv: bias, ..Biases::NONE },
        experts: Some(experts),
        ..spec
    };
    let names = ExpertNames {
        shared: Some("mlp.shared_expert"),
        shared_gate: Some("mlp.shared_expert_gate"),
        ..ExpertNames::USUAL
    };
    Ok((spec, Names { experts: Some(names), ..NAMES }))
}

fn qwen3_moe(config: &Fields) -> Result<(Spec, Names)> {
    let bias = config.required("attention_bias")?;
    let spec = block("qwen3_moe", config)?;
    let window = match config.required("use_sliding_window")? {
        true => windowed_everywhere(config, spec.layers)?,
        false => None,
    };
    config.ignore(&["sliding_window"]);
    let spec = Spec {
        qk_norm: Some(QkNorm::Shared),
        window,
        biases: Biases { qkv: bias, attn_out: bias, ..Biases::NONE },
        experts: Some(sparse_layers(config, spec.layers, "num_local_experts")?),
        ..spec
    };
    let names = Names {
        qk_norms: Some(["self_attn.q_norm", "self_attn.k_norm"]),
        experts: Some(ExpertNames::USUAL),
        ..NAMES
    };
    Ok((spec, names))
}

fn block(family: &'static str, config: &Fields) -> Result<Spec> {
    let spec = gated(family, config, rms_norm(config)?, &Rule::WHOLE)?;
    Ok(Spec { activation: config.activation("hidden_act")?, ..spec })
}

/// Every `decoder_sparse_step`th layer has experts, unless `mlp_only_layers` lists it.
fn sparse_layers(config: &Fields, layers: usize, count: &'static str) -> Result<ExpertsSpec> {
    let step = config.size_or("decoder_sparse_step", 1)?;
    let plain = config.or("mlp_only_layers", Vec::<f64>::new())?;
    let router = RouterSpec {
        normalised: config.required::<bool>("norm_topk_prob")?.then_some(0.0),
        ..RouterSpec::SOFTMAX
    };
    let sizes = [count, "num_experts_per_tok", "moe_intermediate_size"];
    experts(config, layers, sizes, router, |layer| {
        (layer + 1).is_multiple_of(step) && !plain.contains(&(layer as f64))
    })
}
