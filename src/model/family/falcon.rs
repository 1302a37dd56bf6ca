//! Falcon (Almazrouei et al. 2023), after transformers' `modeling_falcon.py`: attention and MLP in
//! parallel, rotary positions. The 7B model has one key/value head and one norm for both sub-blocks,
//! the 40B model several key/value heads and a norm for each sub-block.

use super::{Family, Initial, MlpIn, NAMES, Names, Padding, Qkv, head_dim, kv_heads, rotary};
use crate::model::load::config::{Allowed, Fields};
use crate::model::spec::{Biases, NormSpec, Positions, Sizes, Spec};
use crate::{Result, bail};

pub const FAMILY: Family = Family { name: "falcon", example: "tiiuae/falcon-7b", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    config.only("alibi", false)?;
    config.only("apply_residual_connection_post_layernorm", false)?;
    let hidden = config.size("hidden_size")?;
    let heads = config.size("num_attention_heads")?;
    let head_dim = head_dim(hidden, heads)?;
    let new = config.optional("new_decoder_architecture")?.unwrap_or(false);
    let multi_query = config.optional("multi_query")?.unwrap_or(true);
    let parallel = config.optional("parallel_attn")?.unwrap_or(true) || new;
    let given = kv_heads(config, "num_kv_heads", heads)?;
    let sizes = Sizes {
        layers: config.size("num_hidden_layers")?,
        hidden,
        heads,
        kv_heads: match (new, multi_query) {
            (true, _) => given,
            (false, true) => 1,
            (false, false) => heads,
        },
        head_dim,
        feed_forward: config.size_or("ffn_hidden_size", 4 * hidden)?,
        vocabulary: config.size("vocab_size")?,
        max_positions: config.positions("max_position_embeddings")?.unwrap_or(2048),
    };
    let positions = Positions::Rotary(rotary(config, head_dim, 1.0)?);
    let norm = NormSpec::layer(config.number("layer_norm_epsilon", Allowed::EPS)?.unwrap_or(1e-5));
    let bias = config.optional("bias")?.unwrap_or(false);
    let spec = Spec {
        parallel,
        activation: config.activation("activation", "gelu")?,
        biases: Biases { qkv: bias, attn_out: bias, mlp: bias, norm: true, unembedding: false },
        tied: config.optional("tie_word_embeddings")?.unwrap_or(true),
        ..Spec::usual("falcon", sizes, positions, norm)
    };
    let norms_in_parallel: usize =
        config.optional("num_ln_in_parallel_attn")?.unwrap_or(if new { 2 } else { 1 });
    if !(1..=2).contains(&norms_in_parallel) {
        bail!("config.json: num_ln_in_parallel_attn must be 1 or 2, not {norms_in_parallel}");
    }
    let [attn_norm, mlp_norm] = match (parallel, norms_in_parallel) {
        (false, _) => ["input_layernorm", "post_attention_layernorm"],
        (true, 2) => ["ln_attn", "ln_mlp"],
        (true, _) => ["input_layernorm", "input_layernorm"],
    };
    let names = Names {
        prefixes: &["transformer.", ""],
        token_embeddings: "word_embeddings",
        block: "h",
        attn_norm,
        qkv: match new || !multi_query {
            true => Qkv::ByGroup("self_attention.query_key_value"),
            false => Qkv::Stacked("self_attention.query_key_value"),
        },
        attn_out: "self_attention.dense",
        mlp_norm,
        mlp_in: MlpIn::Plain("mlp.dense_h_to_4h"),
        fc2: "mlp.dense_4h_to_h",
        final_norm: "ln_f",
        initial: Initial { padding: Padding::Nothing, ..NAMES.initial },
        ..NAMES
    };
    Ok((spec, names))
}
