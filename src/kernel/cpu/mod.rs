//! What the CPU kernels are built on: the thread pool, vector instructions, and matrix products.

pub(crate) mod parallel;
pub(crate) mod sgemm;
pub(crate) mod simd;
