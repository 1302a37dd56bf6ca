//! Look inside sequence models and change what happens there, by script.
//!
//! ARCHITECTURE.md says what each folder is for and which folders it may import; a test holds it.

#![warn(missing_docs, clippy::undocumented_unsafe_blocks)]
#![cfg_attr(
    not(all(feature = "cli", feature = "plots")),
    allow(
        dead_code,
        reason = "the library has some functions for the program and for pictures alone"
    )
)]

pub mod checkpoint;
#[cfg(feature = "cli")]
pub mod cli;
pub mod data;
#[cfg(feature = "cli")]
pub mod doctor;
mod error;
pub mod hook;
pub mod model;
pub mod output;
#[cfg(feature = "cli")]
pub mod recipe;
#[cfg(feature = "cli")]
pub mod repl;
pub mod script;
#[cfg(feature = "cli")]
pub mod serve;
#[cfg(feature = "cli")]
pub mod sweep;
pub mod system;
pub mod tensor;

pub(crate) use error::without_rust_types;
pub use error::{Error, Result, did_you_mean, nearest};
pub(crate) use precompute_kernel as kernel;
