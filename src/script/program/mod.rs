//! Scripts as texts: where they come from, what they import, and what can be said of them without
//! running them.

pub(crate) mod bundle;
pub mod describe;
pub mod identity;
pub mod model_names;
pub(crate) mod modules;
pub(crate) mod source;
