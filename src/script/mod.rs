//! The Rhai host: runs scripts, and registers everything that they can call.
//!
//! A program that embeds Precompute makes a [`Host`] of [`Settings`] and runs scripts with it.
//!
//! The modules form layers: ARCHITECTURE.md says which may import which, and a test holds it.

pub(crate) mod bind;
mod data;
pub mod declare;
pub(crate) mod diagnostics;
mod engine;
pub mod errors;
mod fingerprint;
mod gradient;
pub(crate) mod hook;
mod host;
pub(crate) mod program;
pub(crate) mod reference;
pub mod reuse;
pub mod run;
mod run_session;
#[cfg(feature = "cli")]
pub(crate) mod session;
pub mod tensor;
pub mod value;
mod weights;

pub use diagnostics::failure::Failure;
pub use engine::STACK;
pub use host::{Host, Script};
pub use program::bundle::{Bundle, Program};
pub use program::imports::inside as module_parts;
pub use program::library::shipped as shipped_modules;
pub use program::location::Location;
pub use program::model_names::Substitutes;
pub use program::modules::read as read_text;
pub use run::console::Console;
pub use run::limits::Limits;
pub use run::policy::Policy;
pub use run::settings::{Pin, Settings, Streaming};
pub use run_session::Session;
#[cfg(feature = "cli")]
pub use session::workspace::Workspace;
