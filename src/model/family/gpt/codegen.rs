//! CodeGen (Nijkamp et al. 2022), after transformers' `modeling_codegen.py`: GPT-J with queries, values
//! and keys in one matrix, whose rows are in the order of the four machines that trained it.

use crate::Result;
use crate::model::family::reading::{OddPart, head_dim, layer_norm, rotary_spec};
use crate::model::family::{Family, Initial, MlpIn, NAMES, Names, Padding, Qkv};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, Pairs, Positions, Sizes, Spec};

pub const FAMILY: Family =
    Family { name: "codegen", example: "Salesforce/codegen-350M-mono", read };

fn read(config: &Fields) -> Result<(Spec, Names)> {
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
    let norm = layer_norm(config, "layer_norm_epsilon")?;
    let spec = Spec {
        parallel: true,
        activation: config.activation("activation_function")?,
        biases: Biases { mlp: true, norm: true, unembedding: true, ..Biases::NONE },
        tied: config.required("tie_word_embeddings")?,
        ..Spec::usual("codegen", sizes, Positions::Rotary(rotary), norm)
    };
    let names = Names {
        prefixes: &["transformer.", ""],
        token_embeddings: "wte",
        block: "h",
        attn_norm: "ln_1",
        qkv: Qkv::ByMachine("attn.qkv_proj"),
        attn_out: "attn.out_proj",
        mlp_norm: "ln_1",
        mlp_in: MlpIn::Plain("mlp.fc_in"),
        fc2: "mlp.fc_out",
        final_norm: "ln_f",
        buffers: &["attn.causal_mask", "attn.bias", "attn.masked_bias"],
        initial: Initial { padding: Padding::Nothing, ..NAMES.initial },
        ..NAMES
    };
    Ok((spec, names))
}
