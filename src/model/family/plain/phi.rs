//! Phi 1, 1.5 and 2 (Li et al. 2023), after transformers' `modeling_phi.py`: attention and MLP in
//! parallel with one norm for both, rotary positions on a part of each head, and biases everywhere,
//! on the unembedding too.

use crate::Result;
use crate::model::family::reading::{OddPart, Rule, head_dim, layer_norm, rotary, usual};
use crate::model::family::{Family, MlpIn, NAMES, Names};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, Positions, QkNorm, Spec};

pub const FAMILY: Family = Family { name: "phi", example: "microsoft/phi-2", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    let head_dim = head_dim(config.size("hidden_size")?, config.size("num_attention_heads")?)?;
    let rule = Rule::share(0.5, OddPart::Refused);
    let positions = Positions::Rotary(rotary(config, head_dim, &rule)?);
    let norm = layer_norm(config, "layer_norm_eps")?;
    let spec = Spec {
        parallel: true,
        activation: config.activation("hidden_act")?,
        qk_norm: config.required::<bool>("qk_layernorm")?.then_some(QkNorm::Shared),
        biases: Biases { unembedding: true, ..Biases::INSIDE },
        ..usual("phi", config, norm, positions, head_dim)?
    };
    let names = Names {
        qk_norms: Some(["self_attn.q_layernorm", "self_attn.k_layernorm"]),
        attn_out: "self_attn.dense",
        mlp_norm: "input_layernorm",
        mlp_in: MlpIn::Plain("mlp.fc1"),
        fc2: "mlp.fc2",
        final_norm: "final_layernorm",
        ..NAMES
    };
    Ok((spec, names))
}
