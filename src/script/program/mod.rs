//! Scripts as text and syntax tree: where they come from, what they import, what their names mean,
//! and what can be said of them without running them.

pub(crate) mod bundle;
pub(crate) mod compile;
pub mod describe;
pub mod identity;
pub(crate) mod imports;
pub(crate) mod late_binding;
pub(crate) mod library;
pub mod location;
pub mod model_names;
mod module_functions;
pub(crate) mod modules;
pub(crate) mod own_names;
pub(crate) mod params;
pub(crate) mod source;
pub(crate) mod written_keys;
