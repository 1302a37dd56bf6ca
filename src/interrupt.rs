//! Why work in progress should end: the person pressed Ctrl-C, or the script that it belongs to has changed. Long work
//! checks for it at every layer, download block and script step.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

static REQUESTED: AtomicBool = AtomicBool::new(false);
static SUPERSEDED: AtomicBool = AtomicBool::new(false);

/// Asks the work in progress to end. Called from the signal handler.
pub fn request() {
    REQUESTED.store(true, Ordering::Relaxed);
}

/// Whether the person asked.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Forgets a request, before new work begins.
pub fn clear() {
    REQUESTED.store(false, Ordering::Relaxed);
}

/// Asks the run in progress to end, because its script has changed. What it loads is of use to the next run, so that
/// loading goes on.
pub fn supersede() {
    SUPERSEDED.store(true, Ordering::Relaxed);
}

/// The script that runs from here on is the one that stands in its file.
pub fn resume() {
    SUPERSEDED.store(false, Ordering::Relaxed);
}

/// Whether a run should end, for either reason.
pub fn stopping() -> bool {
    requested() || SUPERSEDED.load(Ordering::Relaxed)
}

/// # Errors
/// [`Error::interrupted`] if the person asked for the work in progress to end.
pub fn check() -> Result<()> {
    if requested() { Err(Error::interrupted()) } else { Ok(()) }
}

/// # Errors
/// [`Error::interrupted`] if the run in progress should end.
pub fn check_run() -> Result<()> {
    if stopping() { Err(Error::interrupted()) } else { Ok(()) }
}
