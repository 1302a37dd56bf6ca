//! From a checkpoint to the decoder's weights: config.json becomes a [`Spec`](super::Spec), and the
//! stored tensors become weights under the names that every family shares, on the device or in host
//! memory.

pub(crate) mod block_weights;
pub mod changes;
mod checkpoint_layout;
pub(crate) mod classes;
pub(crate) mod config;
pub(crate) mod field;
pub(crate) mod known;
pub mod loader;
mod loader_blocks;
mod loader_experts;
mod offload;
pub mod weights;
