//! Look inside sequence models and change what happens there, by script.
//!
//! The layers, each using only those after it: [`cli`], [`repl`], [`doctor`], [`recipe`], [`script`] (the Rhai host), [`output`], [`checkpoint`] and
//! [`model`] (the decoder), [`hook`] (what a hook point is), [`tensor`] (what candle lacks).

pub mod checkpoint;
pub mod cli;
mod disk;
pub mod doctor;
mod error;
mod file;
mod folder;
mod harmless;
mod holder;
mod home;
pub mod hook;
pub mod interrupt;
pub mod last_resort;
pub mod memory;
pub mod model;
mod notice;
pub mod output;
mod panics;
mod parallel;
pub mod recipe;
pub mod repl;
pub mod script;
mod sgemm;
mod simd;
pub mod tensor;
pub mod watch;

pub(crate) use error::in_words_of_data;
pub use error::{Error, Result, did_you_mean, nearest};
