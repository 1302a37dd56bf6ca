//! The Rhai host: what a script sees. Every function that a tensor has is in `reference.md` beside
//! this file.

pub mod bind;
mod engine;
pub mod errors;
pub mod hook;
pub mod host;
pub mod program;
pub mod reference;
pub mod reuse;
pub mod session;
pub mod tensor;
pub mod value;

pub use engine::STACK;
pub use errors::diagnostic::Failure;
pub use host::{Host, Script};
pub use program::bundle::{Bundle, Program};
pub use program::model_names::Substitutes;
pub use program::modules::{inside as module_parts, read as read_text, shipped as shipped_modules};
pub use session::limits::Limits;
pub use session::policy::Policy;
pub use session::run_session::{Pin, Session, Settings, Streaming};
pub use session::workspace::Workspace;
