//! Persimmon (Elsen et al. 2023), after transformers' `modeling_persimmon.py`: layer norms, a plain MLP
//! with squared ReLU, rotary positions on a half of each head, norms of each head's queries and keys, and
//! biases everywhere but on the unembedding.

use crate::Result;
use crate::model::family::reading::{OddPart, Rule, head_dim, layer_norm, rotary, usual};
use crate::model::family::{Family, MlpIn, NAMES, Names, Qkv};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, Positions, QkNorm, Spec};

pub const FAMILY: Family = Family { name: "persimmon", example: "adept/persimmon-8b-base", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    let head_dim = head_dim(config.size("hidden_size")?, config.size("num_attention_heads")?)?;
    let rule = Rule::share(0.5, OddPart::Refused);
    let positions = Positions::Rotary(rotary(config, head_dim, &rule)?);
    let spec = Spec {
        activation: config.activation("hidden_act")?,
        qk_norm: config.required::<bool>("qk_layernorm")?.then_some(QkNorm::Shared),
        biases: Biases::INSIDE,
        ..usual("persimmon", config, layer_norm(config, "layer_norm_eps")?, positions, head_dim)?
    };
    let names = Names {
        qkv: Qkv::ByGroup("self_attn.query_key_value"),
        qk_norms: Some(["self_attn.q_layernorm", "self_attn.k_layernorm"]),
        attn_out: "self_attn.dense",
        mlp_in: MlpIn::Plain("mlp.dense_h_to_4h"),
        fc2: "mlp.dense_4h_to_h",
        final_norm: "final_layernorm",
        ..NAMES
    };
    Ok((spec, names))
}
