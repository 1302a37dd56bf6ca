//! The Rhai host: what a script sees. The contract is the reference in `reference.md` beside this file.

pub mod error;
pub mod options;
pub mod random;
pub mod session;
pub mod tensor;

pub use session::{Session, Settings};
