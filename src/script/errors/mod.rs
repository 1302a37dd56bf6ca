//! Errors where they are made: how one travels through Rhai, and how what other libraries call
//! something is said here.

pub(crate) mod error;
pub mod foreign;
