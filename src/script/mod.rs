//! The Rhai host: runs scripts, and registers everything that they can call.
//!
//! A program that embeds Precompute makes a [`Host`] of [`Settings`] and runs scripts with it.
//!
//! The modules form layers. Each may import only those that are named after it, all of which stand
//! above it in this list (tests excepted):
//!
//! - `errors` (how errors pass through Rhai): none.
//! - `declare` (functions, with all that is known of them, as they are registered): `errors`.
//! - `program` (a script's text and syntax tree): `errors`.
//! - `run` (settings, limits, random numbers, standard output): `program`.
//! - `value` (tensors, models and maps as scripts hold them): `errors`, `declare`.
//! - `tensor` (the operations on tensors): `errors`, `declare`, `run`, `value`.
//! - `reference` (what scripts can call, in words): `declare`, `program`, `value`.
//! - `diagnostics` (errors as the user reads them): `errors`, `declare`, `program`, `value`,
//!   `tensor`, `reference`.
//! - `fingerprint` (digests of values and functions, purity): `declare`, `program`, `value`,
//!   `reference`.
//! - `hook` (hooks and their context): `errors`, `declare`, `program`, `value`, `fingerprint`.
//! - `reuse` (layers that need not run again): `value`, `fingerprint`, `hook`.
//! - `bind` (every other function of scripts): `errors`, `declare`, `program`, `run`, `value`,
//!   `diagnostics`, `hook`, `reuse`.
//! - `run_session` (the state behind impure functions): `program`, `run`, `fingerprint`, `reuse`,
//!   `bind`.
//! - `engine` (registers everything), then `host` (runs scripts), then `session` (the REPL's
//!   variables and definitions): all above.

pub(crate) mod bind;
pub mod declare;
pub(crate) mod diagnostics;
mod engine;
pub mod errors;
mod fingerprint;
pub(crate) mod hook;
mod host;
pub(crate) mod program;
pub(crate) mod reference;
pub mod reuse;
pub mod run;
mod run_session;
pub(crate) mod session;
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
