//! GPT-J (Wang & Komatsuzaki 2021), after transformers' `modeling_gptj.py`: attention and MLP in
//! parallel with one norm for both, rotary positions that pair neighbouring dimensions, and an
//! unembedding with a bias.

use crate::Result;
use crate::model::family::reading::{OddPart, head_dim, layer_norm, rotary_spec};
use crate::model::family::{Family, Initial, MlpIn, NAMES, Names, Padding, Qkv};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, Pairs, Positions, Sizes, Spec};

pub const FAMILY: Family = Family { name: "gptj", example: "EleutherAI/gpt-j-6b", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
    config.only("scale_attn_weights", true)?;
    config.only("rotary", true)?;
    config.ignore(&["n_ctx"]);
    let hidden = config.size("n_embd")?;
    let heads = config.size("n_head")?;
    let head_dim = head_dim(hidden, heads)?;
    let sizes = Sizes {
        layers: config.size("n_layer")?,
        hidden,
        heads,
        kv_heads: heads,
        head_dim,
        feed_forward: config.size_or("n_inner", 4 * hidden)?,
        vocabulary: config.size("vocab_size")?,
        max_positions: config.max_positions("n_positions")?,
    };
    let dims = config.size_or("rotary_dim", 64)?;
    let rotary = rotary_spec(head_dim, dims, OddPart::Refused, 10_000.0, Pairs::Neighbours)?;
    let positions = Positions::Rotary(rotary);
    let norm = layer_norm(config, "layer_norm_epsilon")?;
    let spec = Spec {
        parallel: true,
        activation: config.activation("activation_function")?,
        biases: Biases { mlp: true, norm: true, unembedding: true, ..Biases::NONE },
        tied: config.required("tie_word_embeddings")?,
        ..Spec::usual("gptj", sizes, positions, norm)
    };
    let names = Names {
        prefixes: &["transformer.", ""],
        token_embeddings: "wte",
        block: "h",
        attn_norm: "ln_1",
        qkv: Qkv::Separate(["attn.q_proj", "attn.k_proj", "attn.v_proj"]),
        attn_out: "attn.out_proj",
        mlp_norm: "ln_1",
        mlp_in: MlpIn::Plain("mlp.fc_in"),
        fc2: "mlp.fc_out",
        final_norm: "ln_f",
        buffers: &["attn.bias", "attn.masked_bias", "attn.embed_positions"],
        initial: Initial { padding: Padding::Nothing, ..NAMES.initial },
        ..NAMES
    };
    Ok((spec, names))
}
