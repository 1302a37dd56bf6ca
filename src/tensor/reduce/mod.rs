//! Reductions over any dims: PyTorch's `sum`, `mean`, `prod`, `norm`, `logsumexp`, `max`, `argmax`,
//! `any`, `all`, `count_nonzero`, `var`, `std`, `median`, `quantile` and `histogram`; and functions
//! of whole lines, `softmax`, `log_softmax` and `cumsum`.
//!
//! On the CPU `fold` runs an `accumulator` over contiguous memory; on other devices
//! `by_candle` composes the result from candle's kernels. `dispatch` chooses between the two.

pub(crate) mod accumulator;
pub(crate) mod along_dim;
pub(crate) mod by_candle;
pub mod count;
mod derivatives;
pub(crate) mod dispatch;
pub mod extremes;
pub(crate) mod fold;
pub mod histogram;
pub mod over;
pub mod softmax;
pub mod statistics;
pub mod sums;

#[cfg(test)]
mod tests;
