//! Why work in progress should end: Ctrl-C, or the time that a run may take. Long work asks at every layer, download
//! block and script step.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::{Error, Result};

const PERSON: u8 = 1;
const TIME: u8 = 2;

static REQUESTED: AtomicU8 = AtomicU8::new(0);
/// What is said where the time is over.
static TIME_OVER: Mutex<String> = Mutex::new(String::new());

/// Asks the work in progress to end. Called from the signal handler.
pub fn request() {
    REQUESTED.fetch_or(PERSON, Ordering::Relaxed);
}

/// Asks the work in progress to end with `sentence`, because its time is over.
pub fn time_over(sentence: &str) {
    sentence.clone_into(&mut TIME_OVER.lock().unwrap_or_else(PoisonError::into_inner));
    REQUESTED.fetch_or(TIME, Ordering::Relaxed);
}

/// Whether the work in progress should end, for any reason.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed) != 0
}

/// Whether the person asked for it, with Ctrl-C.
pub fn requested_by_person() -> bool {
    REQUESTED.load(Ordering::Relaxed) & PERSON != 0
}

/// Forgets a person's request, before new work begins.
pub fn clear() {
    REQUESTED.fetch_and(!PERSON, Ordering::Relaxed);
}

/// Forgets that the time is over.
pub fn clear_time() {
    REQUESTED.fetch_and(!TIME, Ordering::Relaxed);
}

/// # Errors
/// [`Error::interrupted`] or [`Error::ended`] if the work in progress should end.
pub fn check() -> Result<()> {
    match REQUESTED.load(Ordering::Relaxed) {
        0 => Ok(()),
        why if why & PERSON != 0 => Err(Error::interrupted()),
        _ => Err(Error::ended(TIME_OVER.lock().unwrap_or_else(PoisonError::into_inner).clone())),
    }
}
