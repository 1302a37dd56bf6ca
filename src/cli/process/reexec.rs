//! A process that goes on after an operation which only the end of a process stops: as a new
//! program in the same process, so that its terminal, and whoever waits for it, notice nothing but
//! that models are loaded anew.

/// Says to the program that begins again what the one before was running, and where its results
/// are.
const LAST: &str = "PRECOMPUTE_LAST_RUN";

/// What was running when the program began again.
pub struct Last {
    /// What [`arm`] was given.
    pub run: String,
    /// The output directory, where there was one.
    pub directory: Option<String>,
}

/// What the process was running before it began again, if it did.
pub fn last() -> Option<Last> {
    let said = std::env::var(LAST).ok()?;
    let (run, directory) = said.split_once(' ')?;
    Some(Last {
        run: run.into(),
        directory: Some(directory.to_owned()).filter(|path| !path.is_empty()),
    })
}

#[cfg(unix)]
mod unix {
    use std::ffi::{CString, c_char};
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicPtr, Ordering};

    use super::LAST;

    /// What the system takes to begin a program: made beforehand, because no memory can be had when
    /// it is needed.
    struct Call {
        program: CString,
        arguments: Vec<*mut c_char>,
        /// The first says what is running.
        environment: Vec<AtomicPtr<c_char>>,
    }

    static CALL: AtomicPtr<Call> = AtomicPtr::new(null_mut());

    /// From now on [`begin`] begins this program again, and tells it that `run` was running and
    /// where its results are.
    pub fn arm(run: &str, directory: &Path) {
        let pair = [LAST.as_bytes(), b"=", run.as_bytes(), b" ", directory.as_os_str().as_bytes()]
            .concat();
        // What was said before is left where it is: another thread may be about to hand it to the
        // system.
        let Some(said) = leaked(&pair) else { return };
        // SAFETY: it points to a call that lives as long as the process.
        if let Some(call) = unsafe { CALL.load(Ordering::Acquire).as_ref() } {
            return call.environment[0].store(said, Ordering::Release);
        }
        let program = std::env::current_exe()
            .ok()
            .and_then(|path| CString::new(path.as_os_str().as_bytes()).ok());
        let Some(program) = program else { return };
        let mut arguments: Vec<*mut c_char> =
            std::env::args_os().filter_map(|text| leaked(text.as_bytes())).collect();
        arguments.push(null_mut());
        let others = std::env::vars_os().filter(|(name, _)| name != LAST);
        let others = others.filter_map(|(name, value)| {
            leaked(&[name.as_bytes(), b"=", value.as_bytes()].concat())
        });
        let environment =
            std::iter::once(said).chain(others).chain([null_mut()]).map(AtomicPtr::new).collect();
        CALL.store(
            Box::into_raw(Box::new(Call { program, arguments, environment })),
            Ordering::Release,
        );
    }

    fn leaked(text: &[u8]) -> Option<*mut c_char> {
        CString::new(text).ok().map(CString::into_raw)
    }

    /// Begins the program again, if that was asked for; else it returns. It takes no memory and
    /// waits for nothing, so that it may be called within an allocation or a signal handler.
    pub fn begin() {
        // SAFETY: it points to a call that lives as long as the process, whose arrays end with a
        // null pointer; an AtomicPtr has the layout of a pointer. A signal that is handled
        // now must not be blocked in the new program.
        unsafe {
            let Some(call) = CALL.load(Ordering::Acquire).as_ref() else { return };
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, null_mut());
            libc::execve(
                call.program.as_ptr(),
                call.arguments.as_ptr().cast(),
                call.environment.as_ptr().cast(),
            );
        }
    }
}

#[cfg(unix)]
pub use unix::{arm, begin};

#[cfg(not(unix))]
pub fn arm(_run: &str, _directory: &std::path::Path) {}

#[cfg(not(unix))]
pub fn begin() {}
