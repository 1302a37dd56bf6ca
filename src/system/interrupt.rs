//! Requests to end the work in progress: Ctrl-C, the time limit, a failed read, or a change of the
//! script that runs. Long work calls [`check`] at every layer, download block and script step.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::{Error, Result};

const PERSON: u8 = 1;
const TIME: u8 = 2;

/// The bits [`PERSON`] and [`TIME`]: who asked the work to end.
static REQUESTED: AtomicU8 = AtomicU8::new(0);
/// Whether the process holds a session whose variables would be lost with it.
static PRECIOUS: AtomicBool = AtomicBool::new(false);
static WARNED: AtomicBool = AtomicBool::new(false);
static SUPERSEDED: AtomicBool = AtomicBool::new(false);
/// The error message of the time limit.
static TIME_OVER: Mutex<String> = Mutex::new(String::new());

thread_local! {
    /// The error of a read on this thread that could not return it.
    static FAILURE: RefCell<Option<Error>> = const { RefCell::new(None) };
}

/// Asks the work in progress to end, as Ctrl-C does. Called from signal handlers.
pub fn request() {
    REQUESTED.fetch_or(PERSON, Ordering::Relaxed);
}

/// Says that the process holds a session. From now on Ctrl-C warns before it ends the process.
pub fn protect_session() {
    PRECIOUS.store(true, Ordering::Relaxed);
}

/// Whether to warn before the process ends: true once per request, and only if it holds a session.
pub fn should_warn_first() -> bool {
    PRECIOUS.load(Ordering::Relaxed) && !WARNED.swap(true, Ordering::Relaxed)
}

/// Asks the work in progress to end with `sentence`, because it has reached the time limit.
pub fn time_over(sentence: &str) {
    sentence.clone_into(&mut TIME_OVER.lock().unwrap_or_else(PoisonError::into_inner));
    REQUESTED.fetch_or(TIME, Ordering::Relaxed);
}

/// Asks the work in progress on this thread to end with `error`. For a read that yielded wrong data
/// and whose interface can't return an error. Code that prints, saves or returns values calls
/// [`check_failed`] first, so that nothing made of that data gets out.
pub fn fail(error: &Error) {
    FAILURE.with_borrow_mut(|failure| {
        failure.get_or_insert_with(|| Error::ended(error.to_string()));
    });
}

/// Whether the work in progress should end.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed) != 0
}

/// Whether the user asked for it, with Ctrl-C or a signal.
pub fn requested_by_person() -> bool {
    REQUESTED.load(Ordering::Relaxed) & PERSON != 0
}

/// Forgets the user's request and this thread's failure, before new work begins.
pub fn clear() {
    REQUESTED.fetch_and(!PERSON, Ordering::Relaxed);
    FAILURE.set(None);
    WARNED.store(false, Ordering::Relaxed);
}

/// Forgets that the time limit was reached.
pub fn clear_time() {
    REQUESTED.fetch_and(!TIME, Ordering::Relaxed);
}

/// Asks the run in progress to end because its script has changed. Only [`check_run`] heeds it, so
/// that a model is loaded to the end: the next run can use it.
pub fn supersede() {
    SUPERSEDED.store(true, Ordering::Relaxed);
}

/// Forgets [`supersede`]: a run of the current script begins.
pub fn resume() {
    SUPERSEDED.store(false, Ordering::Relaxed);
}

/// Returns an error if the work in progress should end.
///
/// # Errors
/// [`Error::interrupted`] or [`Error::ended`], or what [`fail`] was given on this thread.
pub fn check() -> Result<()> {
    match REQUESTED.load(Ordering::Relaxed) {
        0 => check_failed(),
        why if why & PERSON != 0 => Err(Error::interrupted()),
        _ => Err(Error::ended(TIME_OVER.lock().unwrap_or_else(PoisonError::into_inner).clone())),
    }
}

/// Returns the error of a failed read on this thread.
///
/// # Errors
/// What [`fail`] was given on this thread since its work began.
pub fn check_failed() -> Result<()> {
    FAILURE.with_borrow(|failure| failure.clone().map_or(Ok(()), Err))
}

/// As [`check`], also for a run whose script has changed.
///
/// # Errors
/// As [`check`], and [`Error::interrupted`] after [`supersede`].
pub fn check_run() -> Result<()> {
    check()?;
    if SUPERSEDED.load(Ordering::Relaxed) { Err(Error::interrupted()) } else { Ok(()) }
}
