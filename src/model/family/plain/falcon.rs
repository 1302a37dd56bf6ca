//! Falcon (Almazrouei et al. 2023), after transformers' `modeling_falcon.py`: attention and MLP in
//! parallel, rotary positions. The 7B model has one key/value head and one norm for both sub-blocks,
//! the 40B model several key/value heads and a norm for each sub-block.

use crate::model::family::reading::{Rule, head_dim, kv_heads, layer_norm, rotary};
use crate::model::family::{Family, Initial, MlpIn, NAMES, Names, Padding, Qkv};
use crate::model::load::config::Fields;
use crate::model::spec::{AlibiSpec, Biases, Positions, Sizes, Spec};
use crate::{Result, bail};

pub const FAMILY: Family = Family { name: "falcon", example: "tiiuae/falcon-7b", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    // The older name comes first, as it does in transformers.
    let older = config.optional::<usize>("n_embed")?.is_some();
    let hidden = config.size(if older { "n_embed" } else { "hidden_size" })?;
    config.ignore(&["hidden_size"]);
    let heads = config.size("num_attention_heads")?;
    let head_dim = head_dim(hidden, heads)?;
    let new = config.or("new_decoder_architecture", false)?;
    let multi_query = config.or("multi_query", false)?;
    let parallel = config.or("parallel_attn", false)? || new;
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
        max_positions: config.max_positions("max_position_embeddings")?,
    };
    let positions = match config.or("alibi", false)? {
        true => {
            config.ignore(&["rope_parameters", "rope_scaling", "rope_theta"]);
            // transformers' attention that gives patterns adds the term twice, with the mask and by
            // itself; its sdpa, and the code that the model was trained with, add it once. The
            // goldens are of the former.
            let scale = 2.0 * (head_dim as f64).powf(-0.5);
            config.note(
                "Falcon's ALiBi is computed as transformers' eager attention computes it, which adds the term twice; its \
                 sdpa attention adds it once",
            );
            Positions::Alibi(AlibiSpec { scale, rounded: true })
        }
        false => Positions::Rotary(rotary(config, head_dim, &Rule::WHOLE)?),
    };
    let norm = layer_norm(config, "layer_norm_epsilon")?;
    let bias = config.or("bias", false)?;
    let spec = Spec {
        parallel,
        activation: config.activation("activation")?,
        biases: Biases { qkv: bias, attn_out: bias, mlp: bias, norm: true, unembedding: false },
        tied: config.required("tie_word_embeddings")?,
        ..Spec::usual("falcon", sizes, positions, norm)
    };
    let norms_in_parallel: usize = config.or("num_ln_in_parallel_attn", if new { 2 } else { 1 })?;
    if !(1..=2).contains(&norms_in_parallel) || (!new && norms_in_parallel == 2) {
        bail!(
            "config.json: num_ln_in_parallel_attn must be 1, or with new_decoder_architecture 2, not {norms_in_parallel}"
        );
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
