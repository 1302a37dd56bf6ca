//! GPT-2 (Radford et al. 2019), after transformers' `modeling_gpt2.py`: learned positions, weights stored as [in, out].

use super::{Family, Names, Qkv, head_dim};
use crate::Result;
use crate::model::config::Fields;
use crate::model::spec::{Biases, NormKind, NormPlace, NormSpec, Positions, Spec};

pub const FAMILY: Family = Family {
    name: "gpt2",
    example: "gpt2",
    spec,
    names: Names {
        prefixes: &["transformer.", ""],
        token_embeddings: "wte",
        position_embeddings: Some("wpe"),
        project: None,
        block: "h",
        attn_norm: "ln_1",
        qkv: Qkv::Stacked("attn.c_attn"),
        qk_norms: None,
        attn_out: "attn.c_proj",
        mlp_norm: "ln_2",
        fc1: "mlp.c_fc",
        up: None,
        fc2: "mlp.c_proj",
        final_norm: "ln_f",
        heads: &["lm_head"],
        transposed: true,
        buffers: &["attn.bias", "attn.masked_bias"],
    },
};

fn spec(config: &Fields) -> Result<Spec> {
    config.only("scale_attn_weights", true)?;
    config.only("scale_attn_by_inverse_layer_idx", false)?;
    // Upcasting the scores changes nothing in float32, and the half types accumulate in float32 here anyway.
    config.ignore(&["n_ctx", "reorder_and_upcast_attn"]);
    config.ignore(&[
        "summary_activation",
        "summary_first_dropout",
        "summary_proj_to_labels",
        "summary_type",
        "summary_use_proj",
    ]);
    let hidden = config.size("n_embd")?;
    let heads = config.size("n_head")?;
    Ok(Spec {
        family: "gpt2",
        layers: config.size("n_layer")?,
        hidden,
        embedding: hidden,
        heads,
        kv_heads: heads,
        head_dim: head_dim(hidden, heads)?,
        feed_forward: config.size_or("n_inner", 4 * hidden)?,
        vocabulary: config.size("vocab_size")?,
        max_positions: config.size("n_positions")?,
        positions: Positions::Learned { offset: 0 },
        norm: NormSpec {
            kind: NormKind::Layer,
            eps: config.optional("layer_norm_epsilon")?.unwrap_or(1e-5),
            affine: true,
        },
        norm_place: NormPlace::Before,
        parallel: false,
        activation: config.activation("activation_function", "gelu_new")?,
        gated: false,
        qk_norm: false,
        window: None,
        biases: Biases { qkv: true, attn_out: true, mlp: true, norm: true },
        final_norm: true,
        tied: config.optional("tie_word_embeddings")?.unwrap_or(true),
    })
}
