//! StarCoder2 (Lozhkov et al. 2024), after transformers' `modeling_starcoder2.py`: layer norms and a
//! plain MLP with biases, rotary positions, grouped key/value heads, and maybe a sliding window.

use crate::Result;
use crate::model::family::reading::{
    Rule, gated_head_dim, layer_norm, rotary, usual, windowed_everywhere,
};
use crate::model::family::{Family, MlpIn, NAMES, Names};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, Positions, Spec};

pub const FAMILY: Family = Family { name: "starcoder2", example: "bigcode/starcoder2-3b", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    let head_dim = gated_head_dim(config)?;
    let positions = Positions::Rotary(rotary(config, head_dim, &Rule::WHOLE)?);
    let norm = layer_norm(config, "norm_epsilon")?;
    let spec = usual("starcoder2", config, norm, positions, head_dim)?;
    let bias = config.required("use_bias")?;
    let spec = Spec {
        activation: config.activation("hidden_act")?,
        window: windowed_everywhere(config, spec.layers)?,
        biases: Biases { qkv: bias, attn_out: bias, mlp: bias, ..Biases::INSIDE },
        ..spec
    };
    Ok((spec, Names { mlp_in: MlpIn::Plain("mlp.c_fc"), fc2: "mlp.c_proj", ..NAMES }))
}
