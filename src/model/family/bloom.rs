//! BLOOM (Le Scao et al. 2022), after transformers' `modeling_bloom.py`: ALiBi instead of position
//! embeddings, and a norm after the token embeddings.

use super::{Family, Initial, MlpIn, NAMES, Names, Padding, Qkv, head_dim};
use crate::Result;
use crate::model::load::config::{Allowed, Fields};
use crate::model::spec::{Activation, Biases, NormSpec, Positions, Sizes, Spec};

pub const FAMILY: Family = Family { name: "bloom", example: "bigscience/bloom-560m", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    config.only("apply_residual_connection_post_layernorm", false)?;
    // These chose how the original implementation computed the same sums.
    config.ignore(&[
        "attention_softmax_in_fp32",
        "bias_dropout_fusion",
        "masked_softmax_fusion",
        "offset_alibi",
        "pretraining_tp",
        "skip_bias_add",
        "skip_bias_add_qkv",
        "slow_but_exact",
        "unk_token_id",
    ]);
    let either = |name, old| -> Result<usize> {
        if config.has(name) { config.size(name) } else { config.size(old) }
    };
    let hidden = either("hidden_size", "n_embed")?;
    let heads = either("n_head", "num_attention_heads")?;
    config.ignore(&["num_attention_heads", "n_embed", "num_hidden_layers"]);
    let sizes = Sizes {
        layers: either("n_layer", "num_hidden_layers")?,
        hidden,
        heads,
        kv_heads: heads,
        head_dim: head_dim(hidden, heads)?,
        feed_forward: 4 * hidden,
        vocabulary: config.size("vocab_size")?,
        max_positions: config.positions("seq_length")?.unwrap_or(2048),
    };
    let norm = NormSpec::layer(config.number("layer_norm_epsilon", Allowed::EPS)?.unwrap_or(1e-5));
    let spec = Spec {
        embedding_norm: true,
        activation: Activation::GeluTanh,
        biases: Biases::INSIDE,
        tied: config.optional("tie_word_embeddings")?.unwrap_or(true),
        ..Spec::usual("bloom", sizes, Positions::Alibi, norm)
    };
    let names = Names {
        prefixes: &["transformer.", ""],
        token_embeddings: "word_embeddings",
        embedding_norm: Some("word_embeddings_layernorm"),
        block: "h",
        qkv: Qkv::ByGroup("self_attention.query_key_value"),
        attn_out: "self_attention.dense",
        mlp_in: MlpIn::Plain("mlp.dense_h_to_4h"),
        fc2: "mlp.dense_4h_to_h",
        final_norm: "ln_f",
        initial: Initial { padding: Padding::Nothing, ..NAMES.initial },
        ..NAMES
    };
    Ok((spec, names))
}
