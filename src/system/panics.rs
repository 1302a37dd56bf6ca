//! Catches panics and turns them into errors.
//!
//! A panic of a library on a broken file is that file's fault and becomes an error about the file.
//! Any other panic is a bug of this program, and becomes an error that says so.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::message::notice;
use crate::{Error, Result, error};

/// What a panic on this thread becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Catcher {
    /// Nothing catches it: it ends the thread.
    Nobody,
    /// [`catch_foreign`] catches it.
    Foreign,
    /// [`catch_bug`] catches it.
    Bug,
}

thread_local! {
    static CATCHER: Cell<Catcher> = const { Cell::new(Catcher::Nobody) };
}

/// How many calls of [`catch_foreign`] and [`catch_bug`] are in progress, on all threads.
static CATCHING: AtomicUsize = AtomicUsize::new(0);
/// The place and message of the last panic that will be caught.
static LAST: Mutex<Option<String>> = Mutex::new(None);

const HELP: &str = "please report it with the script that shows it; RUST_BACKTRACE=1 tells more";

/// Installs a panic hook that prints a sentence instead of Rust's message, and a backtrace if
/// `RUST_BACKTRACE` is set. A panic that will be caught is not printed: its error is.
pub fn install_hook() {
    panic::set_hook(Box::new(|info| {
        // Threads without a name are rayon's workers, which pass a panic on to the thread that
        // waits for them.
        let helper = thread::current().name().is_none() && CATCHING.load(Ordering::Relaxed) > 0;
        let catcher = CATCHER.get();
        if catcher != Catcher::Foreign && std::env::var_os("RUST_BACKTRACE").is_some() {
            notice(Backtrace::force_capture());
        }
        if catcher == Catcher::Nobody && !helper {
            notice(format_args!("error: {}\n  help: {HELP}", sentence(&place_and_text(info))));
        } else {
            *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(place_and_text(info));
        }
    }));
}

/// Runs a library on data that others wrote.
///
/// # Errors
/// `error` if `f` panics.
pub fn catch_foreign<R>(f: impl FnOnce() -> R, error: impl FnOnce() -> Error) -> Result<R> {
    caught(Catcher::Foreign, f).map_err(|_| error())
}

/// Runs code of this program.
///
/// # Errors
/// If `f` panics, a sentence that calls it a bug and gives its place and message.
pub fn catch_bug<R>(f: impl FnOnce() -> R) -> Result<R> {
    caught(Catcher::Bug, f).map_err(|what| error!("{}", sentence(&what)).help(HELP))
}

fn caught<R>(catcher: Catcher, f: impl FnOnce() -> R) -> Result<R, String> {
    let before = CATCHER.replace(catcher);
    CATCHING.fetch_add(1, Ordering::Relaxed);
    // `f` need not be unwind-safe: what a panic leaves half changed is dropped with the error, or
    // is a script's value, whose invariants do not span calls.
    let outcome = panic::catch_unwind(AssertUnwindSafe(f));
    CATCHING.fetch_sub(1, Ordering::Relaxed);
    CATCHER.set(before);
    outcome.map_err(|payload| {
        let last = LAST.lock().unwrap_or_else(PoisonError::into_inner).take();
        last.unwrap_or_else(|| format!(": {}", text(&*payload)))
    })
}

fn sentence(place_and_text: &str) -> String {
    format!("this is a bug in precompute{place_and_text}")
}

fn place_and_text(info: &PanicHookInfo) -> String {
    let place =
        info.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
    format!("{place}: {}", text(info.payload()))
}

fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("something unforeseen happened")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_sentence_and_the_next_call_is_as_ever() {
        let said = catch_foreign(|| panic!("secret"), || error!("x.json is broken"))
            .map(|()| 1)
            .unwrap_err();
        assert_eq!(said.to_string(), "x.json is broken");
        let said = catch_bug(|| panic!("index {} is out of bounds", 3)).map(|()| 1).unwrap_err();
        assert!(said.message().starts_with("this is a bug in precompute"), "{said}");
        assert!(said.message().ends_with(": index 3 is out of bounds"), "{said}");
        assert_eq!(CATCHER.get(), Catcher::Nobody);
        assert_eq!(catch_bug(|| 7).unwrap(), 7);
        let within = catch_bug(|| {
            catch_foreign(|| panic!("inner"), || error!("inner")).map(|()| 1).unwrap_err()
        })
        .unwrap();
        assert_eq!(within.message(), "inner");
    }
}
