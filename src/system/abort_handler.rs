//! What the program does if an operation exceeds a limit and nothing less can stop it.
//!
//! A script that runs out of time or memory ends at its next step with an error. A single operation
//! that never reaches its next step, or that allocates more than any check foresaw, can be stopped
//! only together with its process. The `precompute` program then ends itself. A program that embeds
//! the library may install its own handler with [`set`]; without one the operation runs to its end,
//! and the script fails after it.

use std::sync::OnceLock;

/// The limit that was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// The time that a run may take.
    Time,
    /// The memory that a run may hold.
    Memory,
}

static HANDLER: OnceLock<fn(Exhausted, &str)> = OnceLock::new();

/// Installs the handler. Only the first call has an effect.
///
/// The handler gets a sentence that says why. It is called on the thread that notices, for memory
/// inside an allocation: it must not panic, nor wait for a lock that the thread may hold.
pub fn set(handler: fn(Exhausted, &str)) {
    let _ = HANDLER.set(handler);
}

/// Calls the handler, if one is installed.
pub(crate) fn invoke(exhausted: Exhausted, sentence: &str) {
    if let Some(handler) = HANDLER.get() {
        handler(exhausted, sentence);
    }
}
