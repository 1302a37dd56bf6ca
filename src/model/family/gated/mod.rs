//! Families whose MLP is gated: Llama's block and its variations.

pub mod cohere;
pub mod gemma;
pub mod glm;
pub mod granite;
pub mod llama;
pub mod llama_like;
pub mod olmo;
pub mod phi3;
pub mod stablelm;
pub mod without_rotary;
