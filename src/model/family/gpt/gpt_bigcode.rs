//! GPTBigCode (SantaCoder and StarCoder; Ben Allal et al. 2023, Li et al. 2023), after transformers'
//! `modeling_gpt_bigcode.py`: GPT-2 with one key/value head for all query heads, and matrices that are
//! stored as [out, in].

use super::sizes;
use crate::Result;
use crate::model::family::reading::layer_norm;
use crate::model::family::{Family, Initial, MlpIn, NAMES, Names, Padding, Qkv};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, Positions, Sizes, Spec};

pub const FAMILY: Family =
    Family { name: "gpt_bigcode", example: "bigcode/gpt_bigcode-santacoder", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    // In which precision the softmax is computed; here it is float32 in any case.
    config.ignore(&["attention_softmax_in_fp32", "scale_attention_softmax_in_fp32"]);
    let sizes = sizes(config)?;
    let multi_query = config.required("multi_query")?;
    let sizes = Sizes { kv_heads: if multi_query { 1 } else { sizes.heads }, ..sizes };
    let norm = layer_norm(config, "layer_norm_epsilon")?;
    let usual = Spec::usual("gpt_bigcode", sizes, Positions::Learned { offset: 0 }, norm);
    let spec = Spec {
        activation: config.activation("activation_function")?,
        biases: Biases::INSIDE,
        tied: config.required("tie_word_embeddings")?,
        score_scale: if config.required("scale_attn_weights")? { usual.score_scale } else { 1.0 },
        ..usual
    };
    let names = Names {
        prefixes: &["transformer.", ""],
        token_embeddings: "wte",
        position_embeddings: Some("wpe"),
        block: "h",
        attn_norm: "ln_1",
        qkv: match multi_query {
            true => Qkv::Stacked("attn.c_attn"),
            false => Qkv::ByGroup("attn.c_attn"),
        },
        attn_out: "attn.c_proj",
        mlp_norm: "ln_2",
        mlp_in: MlpIn::Plain("mlp.c_fc"),
        fc2: "mlp.c_proj",
        final_norm: "ln_f",
        buffers: &["attn.bias", "attn.masked_bias"],
        initial: Initial { padding: Padding::Nothing, scaled: &["c_proj"] },
        ..NAMES
    };
    Ok((spec, names))
}
