//! OPT (Zhang et al. 2022), after transformers' `modeling_opt.py`: learned positions with an offset of two; OPT-350m norms
//! after each sub-block and projects its smaller embeddings in and out.

use super::{Family, Names, Qkv, head_dim};
use crate::Result;
use crate::model::config::Fields;
use crate::model::spec::{Biases, NormKind, NormPlace, NormSpec, Positions, Spec};

pub const FAMILY: Family = Family {
    name: "opt",
    example: "facebook/opt-125m",
    spec,
    names: Names {
        prefixes: &["model.decoder.", "decoder.", ""],
        token_embeddings: "embed_tokens",
        position_embeddings: Some("embed_positions"),
        project: Some(["project_in", "project_out"]),
        block: "layers",
        attn_norm: "self_attn_layer_norm",
        qkv: Qkv::Separate(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
        qk_norms: None,
        attn_out: "self_attn.out_proj",
        mlp_norm: "final_layer_norm",
        fc1: "fc1",
        up: None,
        fc2: "fc2",
        final_norm: "final_layer_norm",
        heads: &["lm_head"],
        transposed: false,
        buffers: &["decoder.version"],
    },
};

fn spec(config: &Fields) -> Result<Spec> {
    let hidden = config.size("hidden_size")?;
    let heads = config.size("num_attention_heads")?;
    let before = config.optional("do_layer_norm_before")?.unwrap_or(true);
    let removed = config.optional("_remove_final_layer_norm")?.unwrap_or(false);
    let bias = config.optional("enable_bias")?.unwrap_or(true);
    let affine = config.optional("layer_norm_elementwise_affine")?.unwrap_or(true);
    Ok(Spec {
        family: "opt",
        layers: config.size("num_hidden_layers")?,
        hidden,
        embedding: config.size_or("word_embed_proj_dim", hidden)?,
        heads,
        kv_heads: heads,
        head_dim: head_dim(hidden, heads)?,
        feed_forward: config.size("ffn_dim")?,
        vocabulary: config.size("vocab_size")?,
        max_positions: config.size("max_position_embeddings")?,
        positions: Positions::Learned { offset: 2 },
        norm: NormSpec { kind: NormKind::Layer, eps: 1e-5, affine },
        norm_place: if before { NormPlace::Before } else { NormPlace::After },
        parallel: false,
        activation: config.activation("activation_function", "relu")?,
        gated: false,
        qk_norm: false,
        window: None,
        biases: Biases { qkv: bias, attn_out: bias, mlp: bias, norm: true },
        final_norm: before && !removed,
        tied: config.optional("tie_word_embeddings")?.unwrap_or(true),
    })
}
