//! Sorting and what follows from it: PyTorch's `sort`, `topk` and `unique`.

pub mod sort;
pub mod unique;
