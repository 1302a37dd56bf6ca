//! A failed run as a person reads it: one sentence, the place under a caret, and what to try.

mod explain;
pub(crate) mod failure;
mod syntax;
pub(crate) mod try_catch;
