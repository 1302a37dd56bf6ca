//! File formats: how a value becomes bytes, and how saved tensors and tables are read back.

pub mod load;
mod npy;
pub(crate) mod parquet;
pub mod save;
