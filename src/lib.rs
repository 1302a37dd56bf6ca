//! Look inside sequence models and change what happens there, by script.
//!
//! The folders import each other in one direction only. Each may import those on earlier lines, and
//! none on its own line or later ones:
//!
//! 1. `kernel`: CPU and CUDA kernels on raw tensors. [`system`]: files, memory, interrupts.
//! 2. [`tensor`]: what candle lacks. [`hook`]: what a hook point is.
//! 3. [`model`]: the decoder and the families of models. [`checkpoint`]: files, formats, the Hub.
//! 4. [`output`]: what a run writes.
//! 5. [`script`]: the Rhai host.
//! 6. [`recipe`]: scripts with a header, from the Hub too.
//! 7. [`repl`]: the interactive session. [`doctor`]: what this machine has.
//! 8. [`cli`]: the command line.
//!
//! `system` and `hook` import nothing of the crate but its error type. Every folder may use the
//! error type and its macros, [`error!`] and [`bail!`].

pub mod checkpoint;
pub mod cli;
pub mod doctor;
mod error;
pub mod hook;
mod kernel;
pub mod model;
pub mod output;
pub mod recipe;
pub mod repl;
pub mod script;
pub mod system;
pub mod tensor;

pub(crate) use error::without_rust_types;
pub use error::{Error, Result, did_you_mean, nearest};
