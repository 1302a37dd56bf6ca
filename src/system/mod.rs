//! What the program needs of the operating system: files and directories that others wrote, memory,
//! interrupts, panics, and lines on standard error.
//!
//! This folder imports nothing of the crate but its error type.

pub mod abort_handler;
pub(crate) mod data_dir;
pub(crate) mod digest;
pub(crate) mod directory;
pub(crate) mod disk;
pub(crate) mod escape;
pub(crate) mod file;
#[cfg(feature = "cli")]
pub mod file_changes;
pub mod fingerprint;
pub mod interrupt;
pub(crate) mod lock_holder;
pub mod memory;
pub(crate) mod message;
pub(crate) mod panics;
pub(crate) mod positioned;
pub(crate) mod progress;
pub(crate) mod write;
