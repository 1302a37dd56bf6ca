//! The process that a command runs in: its signals, its stack, and how it ends.

pub(crate) mod exit;
pub(crate) mod reexec;
pub(crate) mod signals;
pub(crate) mod stack;
