//! Comparing what was saved with what an earlier run saved.

pub mod record;
pub(crate) mod value;
