//! Llama's block in other families' configs, after transformers'
//! `modeling_{seed_oss,ernie4_5,helium,arcee}.py`. Seed-OSS has biases on queries, keys and values, and
//! maybe on the output. ERNIE 4.5 and Helium rotate neighbouring dimensions together. Arcee's MLP is plain.

use crate::Result;
use crate::model::family::reading::{Rule, gated, rms_norm};
use crate::model::family::{Family, Initial, MlpIn, NAMES, Names, Padding};
use crate::model::load::config::Fields;
use crate::model::spec::{Biases, Pairs, Spec};

pub const SEED_OSS: Family =
    Family { name: "seed_oss", example: "ByteDance-Seed/Seed-OSS-36B-Base", read: seed_oss };
pub const ERNIE: Family =
    Family { name: "ernie4_5", example: "baidu/ERNIE-4.5-0.3B-PT", read: ernie };
pub const HELIUM: Family =
    Family { name: "helium", example: "kyutai/helium-1-preview-2b", read: helium };
pub const ARCEE: Family = Family { name: "arcee", example: "arcee-ai/AFM-4.5B-Base", read: arcee };

fn seed_oss(config: &Fields) -> Result<(Spec, Names)> {
    // The number of tensor-parallel ranks in pretraining.
    config.ignore(&["pretraining_tp"]);
    let biases = Biases {
        qkv: config.required("attention_bias")?,
        attn_out: config.required("attention_out_bias")?,
        mlp: config.required("mlp_bias")?,
        ..Biases::NONE
    };
    let spec = Spec { biases, ..block("seed_oss", config, &Rule::WHOLE)? };
    Ok((spec, padded(1)))
}

fn ernie(config: &Fields) -> Result<(Spec, Names)> {
    let bias = config.or("use_bias", false)?;
    let biases = Biases { qkv: bias, attn_out: bias, mlp: bias, ..Biases::NONE };
    let rule = Rule { pairs: Pairs::Neighbours, default_theta: 5e5, ..Rule::WHOLE };
    Ok((Spec { biases, ..block("ernie4_5", config, &rule)? }, padded(0)))
}

fn helium(config: &Fields) -> Result<(Spec, Names)> {
    let biases = Biases {
        qkv: config.required("attention_bias")?,
        mlp: config.required("mlp_bias")?,
        ..Biases::NONE
    };
    let rule = Rule { pairs: Pairs::Neighbours, default_theta: 1e5, ..Rule::WHOLE };
    Ok((Spec { biases, ..block("helium", config, &rule)? }, padded(3)))
}

fn arcee(config: &Fields) -> Result<(Spec, Names)> {
    let attention = config.required("attention_bias")?;
    let mlp = config.required("mlp_bias")?;
    let biases = Biases { qkv: attention, attn_out: attention, mlp, ..Biases::NONE };
    let spec = Spec { gated: false, biases, ..block("arcee", config, &Rule::WHOLE)? };
    Ok((spec, Names { mlp_in: MlpIn::Plain("mlp.up_proj"), ..NAMES }))
}

fn block(family: &'static str, config: &Fields, rule: &Rule) -> Result<Spec> {
    let spec = gated(family, config, rms_norm(config)?, rule)?;
    Ok(Spec { activation: config.activation("hidden_act")?, ..spec })
}

fn padded(token: usize) -> Names {
    Names { initial: Initial { padding: Padding::Token(Some(token)), ..NAMES.initial }, ..NAMES }
}
