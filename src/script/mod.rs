//! The Rhai host: what a script sees. Every function that a tensor has is in `reference.md` beside this file.

pub mod console;
pub mod context;
pub mod diagnostic;
mod engine;
pub mod error;
mod explain;
mod generate;
mod growth;
pub mod hook;
pub mod host;
pub mod limits;
pub mod model;
mod modules;
pub mod options;
pub mod output;
pub mod param;
pub mod pass;
pub mod picture;
pub mod place;
pub mod random;
pub mod session;
mod sort;
mod source;
mod syntax;
pub mod tensor;
pub mod tokens;
mod vocabulary;

pub use diagnostic::Failure;
pub use engine::STACK;
pub use host::Host;
pub use limits::Limits;
pub use session::{Session, Settings, Streaming};
