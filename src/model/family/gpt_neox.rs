//! GPT-NeoX and Pythia (Black et al. 2022; Biderman et al. 2023), after transformers' `modeling_gpt_neox.py`: attention and
//! MLP in parallel (unless `use_parallel_residual` is false), rotary positions on a part of each head.

use super::{Family, Names, Qkv, head_dim, rotary};
use crate::Result;
use crate::model::config::Fields;
use crate::model::spec::{Biases, NormKind, NormPlace, NormSpec, Positions, Spec};

pub const FAMILY: Family = Family {
    name: "gpt_neox",
    example: "EleutherAI/pythia-70m-deduped",
    spec,
    names: Names {
        prefixes: &["gpt_neox.", ""],
        token_embeddings: "embed_in",
        position_embeddings: None,
        project: None,
        block: "layers",
        attn_norm: "input_layernorm",
        qkv: Qkv::PerHead("attention.query_key_value"),
        qk_norms: None,
        attn_out: "attention.dense",
        mlp_norm: "post_attention_layernorm",
        fc1: "mlp.dense_h_to_4h",
        up: None,
        fc2: "mlp.dense_4h_to_h",
        final_norm: "final_layer_norm",
        heads: &["embed_out", "lm_head"],
        transposed: false,
        buffers: &["attention.bias", "attention.masked_bias", "rotary_emb.inv_freq"],
    },
};

fn spec(config: &Fields) -> Result<Spec> {
    let hidden = config.size("hidden_size")?;
    let heads = config.size("num_attention_heads")?;
    let head_dim = head_dim(hidden, heads)?;
    let attention_bias = config.optional("attention_bias")?.unwrap_or(true);
    Ok(Spec {
        family: "gpt_neox",
        layers: config.size("num_hidden_layers")?,
        hidden,
        embedding: hidden,
        heads,
        kv_heads: heads,
        head_dim,
        feed_forward: config.size("intermediate_size")?,
        vocabulary: config.size("vocab_size")?,
        max_positions: config.size("max_position_embeddings")?,
        positions: Positions::Rotary(rotary(config, head_dim, 0.25)?),
        norm: NormSpec { kind: NormKind::Layer, eps: config.optional("layer_norm_eps")?.unwrap_or(1e-5), affine: true },
        norm_place: NormPlace::Before,
        parallel: config.optional("use_parallel_residual")?.unwrap_or(true),
        activation: config.activation("hidden_act", "gelu")?,
        gated: false,
        qk_norm: false,
        window: None,
        biases: Biases { qkv: attention_bias, attn_out: attention_bias, mlp: true, norm: true },
        final_norm: true,
        tied: config.optional("tie_word_embeddings")?.unwrap_or(false),
    })
}
