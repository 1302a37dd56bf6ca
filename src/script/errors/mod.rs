//! Errors of scripts as a person reads them: one sentence, the place under a caret, what to try.

pub mod diagnostic;
pub mod error;
mod explain;
pub mod foreign;
pub mod location;
pub(crate) mod non_finite;
mod syntax;
pub(crate) mod try_catch;
