//! GPT-2 (Radford et al. 2019), after transformers' `modeling_gpt2.py`: learned positions, and
//! matrices that are stored as [in, out].

use super::{Family, Initial, MlpIn, NAMES, Names, Padding, Qkv, head_dim};
use crate::Result;
use crate::model::load::config::{Allowed, Fields};
use crate::model::spec::{Biases, NormSpec, Positions, Sizes, Spec};

pub const FAMILY: Family = Family { name: "gpt2", example: "gpt2", read };

/// Fields for other tasks that configs of GPT-2 and GPT-J may have.
pub const SUMMARY: &[&str] = &[
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
];

fn read(config: &Fields) -> Result<(Spec, Names)> {
    config.only("scale_attn_weights", true)?;
    config.only("scale_attn_by_inverse_layer_idx", false)?;
    // reorder_and_upcast_attn computes the scores in float32. Here sums of products of half
    // precision are float32 in any case.
    config.ignore(&["n_ctx", "reorder_and_upcast_attn"]);
    config.ignore(SUMMARY);
    let hidden = config.size("n_embd")?;
    let heads = config.size("n_head")?;
    let sizes = Sizes {
        layers: config.size("n_layer")?,
        hidden,
        heads,
        kv_heads: heads,
        head_dim: head_dim(hidden, heads)?,
        feed_forward: config.size_or("n_inner", 4 * hidden)?,
        vocabulary: config.size("vocab_size")?,
        max_positions: config.max_positions("n_positions")?,
    };
    let norm = NormSpec::layer(config.number("layer_norm_epsilon", Allowed::EPS)?.unwrap_or(1e-5));
    let spec = Spec {
        activation: config.activation("activation_function", "gelu_new")?,
        biases: Biases::INSIDE,
        tied: config.optional("tie_word_embeddings")?.unwrap_or(true),
        ..Spec::usual("gpt2", sizes, Positions::Learned { offset: 0 }, norm)
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
