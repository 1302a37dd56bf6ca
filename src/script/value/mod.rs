//! The values that scripts hold (tensors, models, maps) and the reading of their values and options
//! in Rust.

pub mod frozen;
pub mod graph;
pub mod handed_out;
pub mod handle;
pub mod kept;
pub mod lease;
pub mod model;
pub mod options;
pub mod plain;
pub mod record;
pub mod same;
pub mod store;

pub use handle::Handle;
pub use handle::mask::Masks;
