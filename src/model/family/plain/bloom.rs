//! BLOOM (Le Scao et al. 2022), after transformers' `modeling_bloom.py`: ALiBi instead of position
//! embeddings, and a norm after the token embeddings.

use crate::model::family::reading::{head_dim, layer_norm};
use crate::model::family::{Family, Initial, MlpIn, NAMES, Names, Padding, Qkv};
use crate::model::load::config::Fields;
use crate::model::spec::{Activation, AlibiSpec, Biases, NormPlace, Positions, Sizes, Spec};
use crate::{Result, bail};

pub const FAMILY: Family = Family { name: "bloom", example: "bigscience/bloom-560m", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    // These chose how the original implementation computed the same sums.
    config.ignore(&[
        "attention_softmax_in_fp32",
        "bias_dropout_fusion",
        "masked_softmax_fusion",
        "offset_alibi",
        "skip_bias_add",
        "skip_bias_add_qkv",
    ]);
    let parts: usize = config.or("pretraining_tp", 1)?;
    if config.or("slow_but_exact", false)? && parts > 1 {
        bail!(
            "config.json: slow_but_exact with pretraining_tp = {parts} can't be honoured: transformers leaves out biases there"
        );
    }
    // The older name comes first, as it does in transformers.
    let older = config.optional::<usize>("n_embed")?.is_some();
    let hidden = config.size(if older { "n_embed" } else { "hidden_size" })?;
    config.ignore(&["hidden_size"]);
    let heads = config.size("n_head")?;
    let place = match config.or("apply_residual_connection_post_layernorm", false)? {
        true => NormPlace::Stream,
        false => NormPlace::Before,
    };
    let sizes = Sizes {
        layers: config.size("n_layer")?,
        hidden,
        heads,
        kv_heads: heads,
        head_dim: head_dim(hidden, heads)?,
        feed_forward: 4 * hidden,
        vocabulary: config.size("vocab_size")?,
        max_positions: config.positions("seq_length")?.unwrap_or(2048),
    };
    let norm = layer_norm(config, "layer_norm_epsilon")?;
    let alibi = Positions::Alibi(AlibiSpec { scale: 1.0, rounded: false });
    let spec = Spec {
        embedding_norm: true,
        norm_place: place,
        activation: Activation::GeluTanh,
        biases: Biases::INSIDE,
        tied: config.required("tie_word_embeddings")?,
        ..Spec::usual("bloom", sizes, alibi, norm)
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
