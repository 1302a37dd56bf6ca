//! File formats: how tensors, tables and JSON become bytes, and how those are read back.

pub mod csv;
pub mod extension;
pub mod json;
pub mod npy;
pub mod npz;
#[cfg(feature = "parquet")]
pub mod parquet;
#[cfg(not(feature = "parquet"))]
#[path = "no_parquet.rs"]
pub mod parquet;
pub mod safetensors;
pub mod table;
