//! What the CPU kernels are built on: the thread pool, vector instructions, and matrix products.

pub mod parallel;
mod pool;
pub mod sgemm;
pub mod simd;
