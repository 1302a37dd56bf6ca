//! Many elements to fewer: sums, softmax, statistics, sorting.

pub(crate) mod accumulator;
pub(crate) mod along_dim;
pub(crate) mod by_candle;
pub(crate) mod float;
pub(crate) mod fold;
pub mod reductions;
pub mod softmax;
pub mod sort;
pub mod statistics;
pub mod unique;
