//! Why work in progress should end: Ctrl-C, the time that a run may take, a device that failed, or
//! a change of the script that runs. Long work asks at every layer, download block and script step.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::{Error, Result};

const PERSON: u8 = 1;
const TIME: u8 = 2;

static REQUESTED: AtomicU8 = AtomicU8::new(0);
/// Whether what a person has made would be lost with the process.
static PRECIOUS: AtomicBool = AtomicBool::new(false);
static WARNED: AtomicBool = AtomicBool::new(false);
static SUPERSEDED: AtomicBool = AtomicBool::new(false);
/// What is said where the time is over.
static TIME_OVER: Mutex<String> = Mutex::new(String::new());

thread_local! {
    /// Why what this thread has read is wrong.
    static FAILURE: RefCell<Option<Error>> = const { RefCell::new(None) };
}

/// Asks the work in progress to end. Called from the signal handler.
pub fn request() {
    REQUESTED.fetch_or(PERSON, Ordering::Relaxed);
}

/// From now on the process holds what a person has made: it does not end before a warning.
pub fn protect_session() {
    PRECIOUS.store(true, Ordering::Relaxed);
}

/// Whether a person who asks again is first to be told what is at stake: once, where something is.
pub fn should_warn_first() -> bool {
    PRECIOUS.load(Ordering::Relaxed) && !WARNED.swap(true, Ordering::Relaxed)
}

/// Asks the work in progress to end with `sentence`, because its time is over.
pub fn time_over(sentence: &str) {
    sentence.clone_into(&mut TIME_OVER.lock().unwrap_or_else(PoisonError::into_inner));
    REQUESTED.fetch_or(TIME, Ordering::Relaxed);
}

/// Asks the work in progress on this thread to end with `error`: what was read just now is not what
/// it should be, where the reader could not be told. Whoever prints, saves or gives away what was
/// made of it asks [`check_failed`] first.
pub fn fail(error: &Error) {
    FAILURE.with_borrow_mut(|failure| {
        failure.get_or_insert_with(|| Error::ended(error.to_string()));
    });
}

/// Whether the work in progress should end.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed) != 0
}

/// Whether the person asked for it, with Ctrl-C.
pub fn requested_by_person() -> bool {
    REQUESTED.load(Ordering::Relaxed) & PERSON != 0
}

/// Forgets a person's request and a failure, before new work begins.
pub fn clear() {
    REQUESTED.fetch_and(!PERSON, Ordering::Relaxed);
    FAILURE.set(None);
    WARNED.store(false, Ordering::Relaxed);
}

/// Forgets that the time is over.
pub fn clear_time() {
    REQUESTED.fetch_and(!TIME, Ordering::Relaxed);
}

/// Asks the run in progress to end, because its script has changed. What it loads is of use to the
/// next run, so that loading goes on.
pub fn supersede() {
    SUPERSEDED.store(true, Ordering::Relaxed);
}

/// The script that runs from here on is the one that stands in its file.
pub fn resume() {
    SUPERSEDED.store(false, Ordering::Relaxed);
}

/// # Errors
/// [`Error::interrupted`] or [`Error::ended`] if the work in progress should end.
pub fn check() -> Result<()> {
    match REQUESTED.load(Ordering::Relaxed) {
        0 => check_failed(),
        why if why & PERSON != 0 => Err(Error::interrupted()),
        _ => Err(Error::ended(TIME_OVER.lock().unwrap_or_else(PoisonError::into_inner).clone())),
    }
}

/// # Errors
/// What [`fail`] was given on this thread since its work began.
pub fn check_failed() -> Result<()> {
    FAILURE.with_borrow(|failure| failure.clone().map_or(Ok(()), Err))
}

/// # Errors
/// As [`check`], and where the run in progress is of a script that has changed.
pub fn check_run() -> Result<()> {
    check()?;
    if SUPERSEDED.load(Ordering::Relaxed) { Err(Error::interrupted()) } else { Ok(()) }
}
