//! Values that scripts hold, other than tensors: maps, option maps, closures, and what is captured.

pub(crate) mod closures;
pub(crate) mod growth;
pub(crate) mod handed_out;
pub(crate) mod kept;
pub(crate) mod key_order;
pub mod options;
pub mod record;
