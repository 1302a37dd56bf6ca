//! Tensors in scripts: one file a group of the contract's operations, each with one `install`.

pub mod arguments;
pub mod handle;

pub use handle::Handle;
