//! Errors of scripts as the user reads them: one sentence, the place under a caret, and help.

mod explain;
pub(crate) mod failure;
mod syntax;
pub(crate) mod try_catch;
