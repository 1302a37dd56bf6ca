//! Ends the process at once if the work in progress can't be stopped otherwise, and removes its
//! unfinished files first.

use std::io::Write;
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};

use super::reexec;
use crate::output::temporary;
use crate::system::abort_handler;
use crate::system::abort_handler::Exhausted;

/// Whether an operation that exceeds the time limit is waited for instead: a session would be lost
/// with the process.
static WAIT_FOR_SLOW: AtomicBool = AtomicBool::new(false);

/// Installs the handler for an operation that exceeds the limit of time or memory and that nothing
/// less stops: the process prints a sentence and ends with exit code 1, or executes itself again if
/// [`reexec::prepare`] was called.
pub fn install_abort_handler() {
    abort_handler::set(|exhausted, sentence| {
        if exhausted == Exhausted::Time && WAIT_FOR_SLOW.load(Ordering::Relaxed) {
            return;
        }
        // This may run inside an allocation, so nothing here waits for a lock that the thread may
        // hold: the message is one write to standard error, whose lock is reentrant.
        let _ = std::io::stderr().write_all(format!("error: {sentence}\n").as_bytes());
        temporary::remove_all();
        reexec::exec();
        exit(1);
    });
}

/// From now on an operation that exceeds the time limit is waited for, so that a session is not
/// lost.
pub fn wait_for_slow_operations() {
    WAIT_FOR_SLOW.store(true, Ordering::Relaxed);
}

/// Ends the process with an exit code, because the user asked for it.
pub fn exit_now(code: u8) -> ! {
    temporary::remove_all();
    exit(code.into())
}
