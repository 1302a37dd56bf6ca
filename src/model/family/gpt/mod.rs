//! GPT-2 and what followed it with its names of fields.

pub mod codegen;
pub mod gpt2;
pub mod gpt_bigcode;
pub mod gpt_neo;
pub mod gpt_neox;
pub mod gptj;
