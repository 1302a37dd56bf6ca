//! Copies: between devices, between precisions, and from one tensor over another.

pub(crate) mod copy;
pub(crate) mod half_precision;
pub mod upload;
