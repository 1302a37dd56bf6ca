//! Copies: between devices, between precisions, to bytes, and from one tensor over another.

pub(crate) mod bytes;
pub(crate) mod copy;
pub mod upload;
