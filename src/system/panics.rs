//! Panics, caught where they would end more than the work that met them: a library's on what others
//! wrote is that file's fault, any other is a bug of ours.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::message::notice;
use crate::{Error, Result, error};

/// Who answers for a panic of this thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Catcher {
    /// Nobody: it ends the thread.
    Nobody,
    /// Whoever called [`catch_foreign`].
    Foreign,
    /// Whoever called [`catch_bug`].
    Bug,
}

thread_local! {
    static CATCHER: Cell<Catcher> = const { Cell::new(Catcher::Nobody) };
}

/// How many threads have somebody who catches.
static CATCHING: AtomicUsize = AtomicUsize::new(0);
/// The last panic that somebody catches: where it was, and what it said.
static LAST: Mutex<Option<String>> = Mutex::new(None);

const HELP: &str = "please report it with the script that shows it; RUST_BACKTRACE=1 tells more";

/// Says panics in a sentence from now on, not in a backtrace, unless one is asked for; those that
/// are caught, their catcher says.
pub fn install_hook() {
    panic::set_hook(Box::new(|info| {
        // A thread without a name works for one that has one, which the panic then passes on to.
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

/// What `f` gives, or `said` where a library panics on what others wrote.
///
/// # Errors
/// That panic.
pub fn catch_foreign<R>(f: impl FnOnce() -> R, said: impl FnOnce() -> Error) -> Result<R> {
    caught(Catcher::Foreign, f).map_err(|_| said())
}

/// What `f` gives, or the sentence that says a panic is a bug.
///
/// # Errors
/// A panic.
pub fn catch_bug<R>(f: impl FnOnce() -> R) -> Result<R> {
    caught(Catcher::Bug, f).map_err(|what| error!("{}", sentence(&what)).help(HELP))
}

fn caught<R>(catcher: Catcher, f: impl FnOnce() -> R) -> Result<R, String> {
    let before = CATCHER.replace(catcher);
    CATCHING.fetch_add(1, Ordering::Relaxed);
    // What the panic left half done is a value of a script, of which no other is made, or is thrown
    // away with the error.
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
