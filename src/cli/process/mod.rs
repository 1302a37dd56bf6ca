//! The process of a command: how it handles signals and a stack overflow, and how it ends.

pub(crate) mod exit;
pub(crate) mod reexec;
pub(crate) mod signals;
pub(crate) mod stack_overflow;
