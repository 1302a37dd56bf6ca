//! Families whose MLP is gated: Llama's block and its variations.

pub mod gemma;
pub mod llama;
pub mod olmo2;
pub mod phi3;
pub mod stablelm;
