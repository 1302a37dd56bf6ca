//! Granite (IBM 2024), after transformers' `modeling_granite.py`: Llama's block with factors on the
//! embeddings, on the scores, on what each sub-block adds to the stream, and on the logits.

use crate::Result;
use crate::model::family::reading::{Rule, gated, rms_norm};
use crate::model::family::{Family, NAMES, Names};
use crate::model::load::config::{Allowed, Fields};
use crate::model::spec::{Biases, Spec};

pub const FAMILY: Family =
    Family { name: "granite", example: "ibm-granite/granite-3.3-2b-base", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    let attention = config.required("attention_bias")?;
    let factor = |name| config.required_number(name, Allowed::SCALE);
    let spec = Spec {
        embedding_scale: Some(factor("embedding_multiplier")?),
        score_scale: factor("attention_multiplier")?,
        residual_scale: Some(factor("residual_multiplier")?),
        logit_scale: Some(1.0 / factor("logits_scaling")?),
        activation: config.activation("hidden_act")?,
        biases: Biases {
            qkv: attention,
            attn_out: attention,
            mlp: config.required("mlp_bias")?,
            ..Biases::NONE
        },
        ..gated("granite", config, rms_norm(config)?, &Rule::WHOLE)?
    };
    Ok((spec, NAMES))
}
