//! Layers that need not run again. When a pass has the same model and tokens as an earlier one, and
//! the same hooks up to some layer, the state at that layer's start is restored instead of computed:
//! the residual stream, and what the hooks had put into the context by then. Results are the same to
//! the last bit.
//!
//! A hook can be skipped if its code, everything that it may call and everything that it captured
//! are known and unchanged, and calling it does nothing but return a tensor and write into the
//! context. That it changed nothing else is verified when it runs.

mod cache;
mod plan;
mod report;
mod resumed_pass;
mod saved_context;
mod store;

pub use cache::{DEFAULT_LIMIT, Reuse};
pub use report::{LastPass, Report};
pub use resumed_pass::run;
