//! StableLM (Bellagente et al. 2024), after transformers' `modeling_stablelm.py`: Llama's block
//! with layer norms and rotary positions on a part of each head. StableLM 2 12B also has a norm on
//! each query and key head, and attention and MLP in parallel.

use super::{Family, NAMES, Names, gated};
use crate::Result;
use crate::model::load::config::{Allowed, Fields};
use crate::model::spec::{Biases, NormSpec, QkNorm, Spec};

pub const FAMILY: Family =
    Family { name: "stablelm", example: "stabilityai/stablelm-2-1_6b", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    let norm = NormSpec::layer(config.number("layer_norm_eps", Allowed::EPS)?.unwrap_or(1e-5));
    let parallel = config.optional("use_parallel_residual")?.unwrap_or(false);
    let spec = Spec {
        parallel,
        qk_norm: config.optional("qk_layernorm")?.unwrap_or(false).then_some(QkNorm::PerHead),
        biases: Biases {
            qkv: config.optional("use_qkv_bias")?.unwrap_or(false),
            norm: true,
            ..Biases::NONE
        },
        ..gated("stablelm", config, norm, 0.25)?
    };
    let names = Names {
        qk_norms: Some(["self_attn.q_layernorm", "self_attn.k_layernorm"]),
        mlp_norm: if parallel { "input_layernorm" } else { NAMES.mlp_norm },
        ..NAMES
    };
    Ok((spec, names))
}
