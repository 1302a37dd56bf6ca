//! StableLM (Bellagente et al. 2024), after transformers' `modeling_stablelm.py`: Llama's block
//! with layer norms and rotary positions on a part of each head. StableLM 2 12B also has a norm on
//! each query and key head, and attention and MLP in parallel.

use crate::Result;
use crate::model::family::reading::{OddPart, Rule, head_dim, layer_norm, rotary, usual};
use crate::model::family::{Family, NAMES, Names};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, Positions, QkNorm, Spec};

pub const FAMILY: Family =
    Family { name: "stablelm", example: "stabilityai/stablelm-2-1_6b", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    let head_dim = head_dim(config.size("hidden_size")?, config.size("num_attention_heads")?)?;
    let rule = Rule::share(0.25, OddPart::Refused);
    let positions = Positions::Rotary(rotary(config, head_dim, &rule)?);
    let parallel = config.required("use_parallel_residual")?;
    let spec = Spec {
        parallel,
        gated: true,
        activation: config.activation("hidden_act")?,
        qk_norm: config.required::<bool>("qk_layernorm")?.then_some(QkNorm::PerHead),
        biases: Biases { qkv: config.required("use_qkv_bias")?, norm: true, ..Biases::NONE },
        ..usual("stablelm", config, layer_norm(config, "layer_norm_eps")?, positions, head_dim)?
    };
    let names = Names {
        qk_norms: Some(["self_attn.q_layernorm", "self_attn.k_layernorm"]),
        mlp_norm: if parallel { "input_layernorm" } else { NAMES.mlp_norm },
        ..NAMES
    };
    Ok((spec, names))
}
