//! GPT-2 (Radford et al. 2019), after transformers' `modeling_gpt2.py`: learned positions, and
//! matrices that are stored as [in, out].

use super::sizes;
use crate::Result;
use crate::model::family::reading::layer_norm;
use crate::model::family::{Family, Initial, MlpIn, NAMES, Names, Padding, Qkv};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, Positions, Spec};

pub const FAMILY: Family = Family { name: "gpt2", example: "gpt2", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    // reorder_and_upcast_attn computes the scores in float32. Here sums of products of half
    // precision are float32 in any case.
    config.ignore(&["n_ctx", "reorder_and_upcast_attn"]);
    let norm = layer_norm(config, "layer_norm_epsilon")?;
    let usual = Spec::usual("gpt2", sizes(config)?, Positions::Learned { offset: 0 }, norm);
    let spec = Spec {
        activation: config.activation("activation_function")?,
        biases: Biases::INSIDE,
        tied: config.required("tie_word_embeddings")?,
        score_scale: if config.required("scale_attn_weights")? { usual.score_scale } else { 1.0 },
        scores_by_layer: config.required("scale_attn_by_inverse_layer_idx")?,
        ..usual
    };
    let names = Names {
        prefixes: &["transformer.", ""],
        token_embeddings: "wte",
        position_embeddings: Some("wpe"),
        block: "h",
        attn_norm: "ln_1",
        qkv: Qkv::Stacked("attn.c_attn"),
        attn_out: "attn.c_proj",
        mlp_norm: "ln_2",
        mlp_in: MlpIn::Plain("mlp.c_fc"),
        fc2: "mlp.c_proj",
        final_norm: "ln_f",
        transposed: true,
        buffers: &["attn.bias", "attn.masked_bias"],
        initial: Initial { padding: Padding::Nothing, scaled: &["c_proj"] },
        ..NAMES
    };
    Ok((spec, names))
}
