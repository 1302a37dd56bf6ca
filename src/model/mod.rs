//! The decoder: one forward pass for every family, with hook points that mean the same in each.
//!
//! A family (under [`family`]) is data: how its `config.json` becomes a [`Spec`], and the names of
//! its checkpoints' weights. The equations are in `decoder`, `block`, `attention`, `mlp`, `experts`, `norm`
//! and `rotary`, and call `tap.at(point, tensor)` at each hook point.
//!
//! The letters of the shapes are those of [`Dim`](crate::hook::Dim): b batch, n tokens, m tokens
//! attended to, e embedding, d hidden, h query heads, k key/value heads, c head size, f feed-forward,
//! v vocabulary, x experts.

mod attention;
mod attention_inputs;
mod block;
mod components;
mod decoder;
mod experts;
pub mod family;
pub mod finite;
mod generate;
mod head_inputs;
mod input;
mod kv_cache;
mod linear;
pub mod load;
mod loss;
mod mask;
mod mlp;
mod norm;
pub mod point_list;
mod recompute;
mod rotary;
pub mod spec;
mod tap;

pub use attention::Heads;
pub use decoder::{Decoder, Logits, Options, Output, Start};
pub use generate::{Generation, GenerationConfig, Sampling};
pub use input::Input;
pub use kv_cache::Cache;
pub use load::config::Fields;
pub use spec::Spec;
