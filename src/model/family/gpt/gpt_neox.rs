//! GPT-NeoX and Pythia (Black et al. 2022; Biderman et al. 2023), after transformers'
//! `modeling_gpt_neox.py`: attention and MLP in parallel (unless `use_parallel_residual` is false),
//! rotary positions on a part of each head.

use crate::Result;
use crate::model::family::reading::{OddPart, Part, Rule, head_dim, layer_norm, rotary};
use crate::model::family::{Family, Initial, MlpIn, NAMES, Names, Padding, Qkv};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, Positions, Sizes, Spec};

pub const FAMILY: Family =
    Family { name: "gpt_neox", example: "EleutherAI/pythia-70m-deduped", read };

const ROTARY: Rule = Rule {
    theta: "rotary_emb_base",
    part: Part::Share { name: "rotary_pct", default: 0.25, odd: OddPart::RoundedUp },
    ..Rule::WHOLE
};

fn read(config: &Fields) -> Result<(Spec, Names)> {
    let hidden = config.size("hidden_size")?;
    let heads = config.size("num_attention_heads")?;
    let head_dim = head_dim(hidden, heads)?;
    let bias = config.required("attention_bias")?;
    let sizes = Sizes {
        layers: config.size("num_hidden_layers")?,
        hidden,
        heads,
        kv_heads: heads,
        head_dim,
        feed_forward: config.size("intermediate_size")?,
        vocabulary: config.size("vocab_size")?,
        max_positions: config.max_positions("max_position_embeddings")?,
    };
    let positions = Positions::Rotary(rotary(config, head_dim, &ROTARY)?);
    let norm = layer_norm(config, "layer_norm_eps")?;
    let spec = Spec {
        parallel: config.required("use_parallel_residual")?,
        activation: config.activation("hidden_act")?,
        biases: Biases { qkv: bias, attn_out: bias, ..Biases::INSIDE },
        tied: config.required("tie_word_embeddings")?,
        ..Spec::usual("gpt_neox", sizes, positions, norm)
    };
    let names = Names {
        prefixes: &["gpt_neox.", ""],
        token_embeddings: "embed_in",
        qkv: Qkv::ByGroup("attention.query_key_value"),
        attn_out: "attention.dense",
        mlp_in: MlpIn::Plain("mlp.dense_h_to_4h"),
        fc2: "mlp.dense_4h_to_h",
        final_norm: "final_layer_norm",
        heads: &["embed_out", "lm_head"],
        buffers: &["attention.bias", "attention.masked_bias", "rotary_emb.inv_freq"],
        initial: Initial { padding: Padding::Nothing, ..NAMES.initial },
        ..NAMES
    };
    Ok((spec, names))
}
