//! Operations on raw tensors that models and scripts share, one file an operation.
//!
//! An operation chooses among three ways: loops of this crate over the elements, vectorised and on
//! all cores, for float tensors on the CPU; candle-nn's fused kernels on a GPU; and candle's own
//! operations, which work for every device and dtype. [`elements::Elements`] decides whether the
//! first way is open, [`elements::fits_fused`] the second. An operation on tensors of a graph of
//! gradients computes in the same way and brings its derivative, which chooses likewise
//! ([`differentiable`]). Nothing here knows of models, hooks or scripts.

#![warn(missing_docs, clippy::undocumented_unsafe_blocks)]

pub mod activation;
pub mod attention;
pub mod cap;
pub mod cpu;
pub mod cross_entropy;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod differentiable;
pub mod elements;
pub mod elementwise;
pub mod half_precision;
pub mod heads;
pub mod lookup;
pub mod moved;
pub mod norm;
pub mod optimiser;
pub mod product;
pub mod rotary;
pub mod softmax;
pub mod sum;

#[cfg(test)]
mod tests;
