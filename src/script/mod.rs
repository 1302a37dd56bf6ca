//! The Rhai host: what a script sees. The contract is the reference in `reference.md` beside this file.

pub mod context;
pub mod error;
pub mod hook;
pub mod model;
pub mod options;
pub mod random;
pub mod session;
pub mod tensor;
pub mod tokens;

pub use session::{Session, Settings};
