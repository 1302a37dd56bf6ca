//! OPT (Zhang et al. 2022), after transformers' `modeling_opt.py`: learned positions with an offset
//! of 2. OPT-350m is post-norm and projects its smaller embeddings to the hidden size and back.

use crate::Result;
use crate::model::family::reading::head_dim;
use crate::model::family::{Family, Initial, MlpIn, NAMES, Names, Padding, Qkv};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, NormPlace, NormSpec, Positions, Sizes, Spec};

pub const FAMILY: Family = Family { name: "opt", example: "facebook/opt-125m", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    let hidden = config.size("hidden_size")?;
    let heads = config.size("num_attention_heads")?;
    let before = config.required("do_layer_norm_before")?;
    let removed: bool = config.required("_remove_final_layer_norm")?;
    let bias = config.required("enable_bias")?;
    let affine = config.required("layer_norm_elementwise_affine")?;
    let sizes = Sizes {
        layers: config.size("num_hidden_layers")?,
        hidden,
        heads,
        kv_heads: heads,
        head_dim: head_dim(hidden, heads)?,
        feed_forward: config.size("ffn_dim")?,
        vocabulary: config.size("vocab_size")?,
        max_positions: config.max_positions("max_position_embeddings")?,
    };
    let norm = NormSpec { affine, ..NormSpec::layer(1e-5) };
    let spec = Spec {
        embedding: config.size_or("word_embed_proj_dim", hidden)?,
        norm_place: if before { NormPlace::Before } else { NormPlace::After },
        activation: config.activation("activation_function")?,
        biases: Biases { qkv: bias, attn_out: bias, mlp: bias, ..Biases::INSIDE },
        final_norm: before && !removed,
        tied: config.required("tie_word_embeddings")?,
        ..Spec::usual("opt", sizes, Positions::Learned { offset: 2 }, norm)
    };
    let names = Names {
        prefixes: &["model.decoder.", "decoder.", ""],
        position_embeddings: Some("embed_positions"),
        project: Some(["project_in", "project_out"]),
        attn_norm: "self_attn_layer_norm",
        qkv: Qkv::Separate(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
        attn_out: "self_attn.out_proj",
        mlp_norm: "final_layer_norm",
        mlp_in: MlpIn::Plain("fc1"),
        fc2: "fc2",
        final_norm: "final_layer_norm",
        buffers: &["decoder.version"],
        initial: Initial { padding: Padding::Token(Some(1)), ..NAMES.initial },
        ..NAMES
    };
    Ok((spec, names))
}
