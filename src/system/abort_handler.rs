//! What is done where nothing less stops an operation: up to the program, since it may have other
//! things to do.
//!
//! A script that runs out of time or memory ends at its next step, with an error. An operation that
//! never comes to its next step, or takes memory that no check foresaw, can be stopped only
//! together with its process. The `precompute` program ends itself then. A program that embeds the
//! library says what it does with [`set`], or nothing happens: the operation goes on to
//! its end, and the script ends after it.

use std::sync::OnceLock;

/// What an operation has used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    Time,
    Memory,
}

static LAST_RESORT: OnceLock<fn(Exhausted, &str)> = OnceLock::new();

/// From now on `end` is called, with a sentence that says why, where nothing else stops an
/// operation: on whichever thread finds out, which for memory is within an allocation. The first
/// call counts.
pub fn set(end: fn(Exhausted, &str)) {
    let _ = LAST_RESORT.set(end);
}

/// Does what the program has said, if it has.
pub(crate) fn invoke(spent: Exhausted, sentence: &str) {
    if let Some(end) = LAST_RESORT.get() {
        end(spent, sentence);
    }
}
