//! The Rhai host: what a script sees. Every function that a tensor has is in `reference.md` beside this file.

mod bundle;
pub mod console;
pub mod context;
pub mod describe;
pub mod diagnostic;
mod engine;
pub mod error;
mod explain;
mod generate;
pub mod hook;
pub mod host;
pub mod model;
mod modules;
pub mod options;
pub mod output;
pub mod param;
pub mod pass;
pub mod picture;
pub mod place;
mod policy;
pub mod random;
pub mod session;
mod source;
mod syntax;
pub mod tensor;
pub mod tokens;
mod vocabulary;

pub use bundle::{Bundle, Program};
pub use diagnostic::Failure;
pub use engine::STACK;
pub use host::Host;
pub use modules::{inside as module_parts, read as read_text};
pub use policy::Policy;
pub use session::{Pin, Session, Settings, Streaming};
