//! What the program needs of the operating system: files and directories of strangers, memory,
//! interrupts, panics, and lines on standard error.

pub(crate) mod data_dir;
pub(crate) mod directory;
pub(crate) mod disk;
pub(crate) mod escape;
pub(crate) mod file;
pub mod file_changes;
pub mod interrupt;
pub mod last_resort;
pub(crate) mod lock_holder;
pub mod memory;
pub(crate) mod message;
pub(crate) mod panics;
