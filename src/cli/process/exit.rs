//! How this process ends at once, where the work in progress can't come to an end by itself:
//! without what was not to stay.

use std::io::Write;
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};

use super::reexec;
use crate::output::temporary;
use crate::system::abort_handler;
use crate::system::abort_handler::Exhausted;

/// Whether an operation that takes too long is waited for, because more would be lost with the
/// process.
static PATIENT: AtomicBool = AtomicBool::new(false);

/// From now on an operation that runs out of time or memory, and that nothing less stops, takes the
/// process with it: exit code 1, with a sentence. A process that can begin again does.
pub fn on_last_resort() {
    abort_handler::set(|spent, sentence| {
        if spent == Exhausted::Time && PATIENT.load(Ordering::Relaxed) {
            return;
        }
        // Maybe within an allocation: one write, and nothing that waits for what this thread may
        // hold.
        let _ = std::io::stderr().write_all(format!("error: {sentence}\n").as_bytes());
        temporary::abandon();
        reexec::begin();
        exit(1);
    });
}

/// From now on the process holds what a person has made: an operation that takes too long is waited
/// for.
pub fn be_patient() {
    PATIENT.store(true, Ordering::Relaxed);
}

/// Ends the process because the person says so.
pub fn now(code: u8) -> ! {
    temporary::abandon();
    exit(code.into())
}
