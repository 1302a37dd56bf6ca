//! Executes the program again in the same process, after an operation that nothing else could stop.
//! For `run --watch`: the terminal and the parent process see the same process go on, with models
//! loaded again.

/// The environment variable that tells the new program what the previous one was running, and where
/// its results are: `RUN DIRECTORY`.
const VARIABLE: &str = "PRECOMPUTE_LAST_RUN";

/// What the previous program was running.
pub struct PreviousRun {
    /// The `run` that [`prepare`] was given.
    pub run: String,
    /// The output directory, if there was one.
    pub directory: Option<String>,
}

/// What the process was running before it executed itself again; nothing if it has not.
pub fn previous_run() -> Option<PreviousRun> {
    let value = std::env::var(VARIABLE).ok()?;
    let (run, directory) = value.split_once(' ')?;
    Some(PreviousRun {
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

    use super::VARIABLE;

    /// The arguments of `execve`. They are made beforehand, since nothing may be allocated when
    /// they are needed.
    ///
    /// Invariant: both arrays end with a null pointer, and their other pointers are to
    /// NUL-terminated strings that are never freed.
    struct ExecArguments {
        program: CString,
        arguments: Vec<*mut c_char>,
        /// The first entry is [`VARIABLE`].
        environment: Vec<AtomicPtr<c_char>>,
    }

    /// Null, or a pointer to a leaked [`ExecArguments`].
    static EXEC_ARGUMENTS: AtomicPtr<ExecArguments> = AtomicPtr::new(null_mut());

    /// Prepares [`exec`]: the new program will be told that `run` was running with results in
    /// `directory`. A later call replaces both.
    pub fn prepare(run: &str, directory: &Path) {
        let pair =
            [VARIABLE.as_bytes(), b"=", run.as_bytes(), b" ", directory.as_os_str().as_bytes()]
                .concat();
        // The previous string is not freed: another thread may be about to pass it to execve.
        let Some(entry) = leaked(&pair) else { return };
        // SAFETY: a non-null `EXEC_ARGUMENTS` is from `Box::into_raw` below and is never freed, and
        // nobody takes a mutable reference to it.
        if let Some(arguments) = unsafe { EXEC_ARGUMENTS.load(Ordering::Acquire).as_ref() } {
            return arguments.environment[0].store(entry, Ordering::Release);
        }
        let program = std::env::current_exe()
            .ok()
            .and_then(|path| CString::new(path.as_os_str().as_bytes()).ok());
        let Some(program) = program else { return };
        let mut arguments: Vec<*mut c_char> =
            std::env::args_os().filter_map(|text| leaked(text.as_bytes())).collect();
        arguments.push(null_mut());
        let others = std::env::vars_os().filter(|(name, _)| name != VARIABLE);
        let others = others.filter_map(|(name, value)| {
            leaked(&[name.as_bytes(), b"=", value.as_bytes()].concat())
        });
        let environment =
            std::iter::once(entry).chain(others).chain([null_mut()]).map(AtomicPtr::new).collect();
        EXEC_ARGUMENTS.store(
            Box::into_raw(Box::new(ExecArguments { program, arguments, environment })),
            Ordering::Release,
        );
    }

    /// A NUL-terminated copy that is never freed; nothing if the text has a NUL.
    fn leaked(text: &[u8]) -> Option<*mut c_char> {
        CString::new(text).ok().map(CString::into_raw)
    }

    /// Replaces this program by a new one, if [`prepare`] was called and the system can; else
    /// returns. It neither allocates nor takes a lock, so that it may be called inside an
    /// allocation or a signal handler.
    pub fn exec() {
        // SAFETY: a non-null `EXEC_ARGUMENTS` is never freed, and its arrays and strings are as
        // execve demands by the invariant of `ExecArguments`; `AtomicPtr<c_char>` has the layout of
        // `*mut c_char`. `sigemptyset` initializes `none` before `pthread_sigmask` reads it. All
        // three functions are async-signal-safe.
        unsafe {
            let Some(call) = EXEC_ARGUMENTS.load(Ordering::Acquire).as_ref() else { return };
            // A signal that is being handled now would stay blocked in the new program.
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
pub use unix::{exec, prepare};

/// Does nothing: only Unix can replace a process's program.
#[cfg(not(unix))]
pub fn prepare(_run: &str, _directory: &std::path::Path) {}

/// Does nothing: only Unix can replace a process's program.
#[cfg(not(unix))]
pub fn exec() {}
