//! The Rhai host: what a script sees. Every function that a tensor has is in `reference.md` beside
//! this file.

pub mod bind;
pub mod diagnostics;
mod engine;
pub mod errors;
mod fingerprint;
pub mod hook;
mod host;
pub mod program;
pub mod reference;
pub mod reuse;
pub mod run;
mod run_session;
pub mod session;
pub mod tensor;
pub mod value;

pub use diagnostics::failure::Failure;
pub use engine::STACK;
pub use host::{Host, Script};
pub use program::bundle::{Bundle, Program};
pub use program::model_names::Substitutes;
pub use program::modules::{inside as module_parts, read as read_text, shipped as shipped_modules};
pub use program::place::Place;
pub use run::console::Console;
pub use run::limits::Limits;
pub use run::policy::Policy;
pub use run::settings::{Pin, Settings, Streaming};
pub use run_session::Session;
pub use session::workspace::Workspace;
