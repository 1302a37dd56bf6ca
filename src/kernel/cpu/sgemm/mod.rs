//! The product of two float32 matrices on a CPU, in instructions chosen at run time: AMX, AVX-512,
//! AVX2; elsewhere the `gemm` crate's.
//!
//! The loops are those of BLIS: panels of the left matrix are packed once, of the right one as they
//! are needed, and a tile of the result stays in registers while the depth of two panels goes by.

#[cfg(target_arch = "x86_64")]
mod loops;
mod product;
#[cfg(target_arch = "x86_64")]
mod registers;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod engine;
#[cfg(target_arch = "x86_64")]
mod fixed;
#[cfg(target_arch = "x86_64")]
mod panel;
#[cfg(target_arch = "x86_64")]
mod vector;

#[cfg(all(test, target_arch = "x86_64"))]
mod tests;

#[cfg(target_arch = "x86_64")]
pub use amx::allowed as has_amx;
pub use product::{Cores, Matrix, product};
