//! Groups of options that several commands share.

pub(crate) mod execution;
pub(crate) mod limits;
pub(crate) mod model;
pub(crate) mod reuse;
pub(crate) mod script;
