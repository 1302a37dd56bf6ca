//! From a checkpoint to the decoder's weights: config.json becomes a [`Spec`](super::Spec), stored
//! tensors become weights by the names that every family shares, where the device has room for
//! them.

pub(crate) mod block_weights;
pub(crate) mod config;
pub(crate) mod loader;
mod offload;
pub mod weights;
