//! GPT-J (Wang & Komatsuzaki 2021) and CodeGen (Nijkamp et al. 2022), after transformers'
//! `modeling_{gptj,codegen}.py`: attention and MLP in parallel with one norm for both, rotary positions
//! that pair neighbouring dimensions, and an unembedding with a bias. CodeGen has queries, values and
//! keys in one matrix, whose rows are in the order of the four machines that trained it.

use super::sizes;
use crate::Result;
use crate::model::family::reading::{OddPart, layer_norm, rotary_spec};
use crate::model::family::{Family, Initial, MlpIn, NAMES, Names, Padding, Qkv};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, Pairs, Positions, Spec};

pub const GPTJ: Family = Family { name: "gptj", example: "EleutherAI/gpt-j-6b", read: gptj };
pub const CODEGEN: Family =
    Family { name: "codegen", example: "Salesforce/codegen-350M-mono", read: codegen };

fn gptj(config: &Fields) -> Result<(Spec, Names)> {
    config.only("scale_attn_weights", true)?;
    config.only("rotary", true)?;
    let names = Names {
        qkv: Qkv::Separate(["attn.q_proj", "attn.k_proj", "attn.v_proj"]),
        buffers: &["attn.bias", "attn.masked_bias", "attn.embed_positions"],
        ..names()
    };
    Ok((spec("gptj", config)?, names))
}

fn codegen(config: &Fields) -> Result<(Spec, Names)> {
    let names = Names {
        qkv: Qkv::ByMachine("attn.qkv_proj"),
        buffers: &["attn.causal_mask", "attn.bias", "attn.masked_bias"],
        ..names()
    };
    Ok((spec("codegen", config)?, names))
}

fn spec(family: &'static str, config: &Fields) -> Result<Spec> {
    config.ignore(&["n_ctx"]);
    let sizes = sizes(config)?;
    let dims = config.size_or("rotary_dim", 64)?;
    let rotary = rotary_spec(sizes.head_dim, dims, OddPart::Refused, 10_000.0, Pairs::Neighbours)?;
    let norm = layer_norm(config, "layer_norm_epsilon")?;
    Ok(Spec {
        parallel: true,
        activation: config.activation("activation_function")?,
        biases: Biases { mlp: true, norm: true, unembedding: true, ..Biases::NONE },
        tied: config.required("tie_word_embeddings")?,
        ..Spec::usual(family, sizes, Positions::Rotary(rotary), norm)
    })
}

fn names() -> Names {
    Names {
        prefixes: &["transformer.", ""],
        token_embeddings: "wte",
        block: "h",
        attn_norm: "ln_1",
        attn_out: "attn.out_proj",
        mlp_norm: "ln_1",
        mlp_in: MlpIn::Plain("mlp.fc_in"),
        fc2: "mlp.fc_out",
        final_norm: "ln_f",
        initial: Initial { padding: Padding::Nothing, ..NAMES.initial },
        ..NAMES
    }
}
