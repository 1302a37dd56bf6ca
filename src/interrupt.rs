//! Ctrl-C: a request that long work checks for at every layer, download block and script step.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Asks the work in progress to end. Called from the signal handler.
pub fn request() {
    REQUESTED.store(true, Ordering::Relaxed);
}

pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Forgets a request, before new work begins.
pub fn clear() {
    REQUESTED.store(false, Ordering::Relaxed);
}

/// # Errors
/// [`Error::interrupted`] if the work in progress should end.
pub fn check() -> Result<()> {
    if requested() { Err(Error::interrupted()) } else { Ok(()) }
}
