//! Handlers of the signals that ask a process to end.

use super::exit;
use crate::system::interrupt;
use crate::system::message::notice;

/// The exit code after Ctrl-C. By convention it is 128 plus the signal's number.
const INTERRUPTED: u8 = 130;

/// Installs the handlers. A signal asks the work in progress to end at its next step. A second
/// Ctrl-C, in a session a third, ends the process at once. SIGTERM and SIGHUP end it if the work
/// takes longer than three seconds to end.
pub fn install_handlers() {
    #[cfg(unix)]
    unix::install_handlers();
    let listening = ctrlc::set_handler(|| {
        if !interrupt::requested_by_person() {
            return interrupt::request();
        }
        if interrupt::should_warn_first() {
            return notice(
                "this step has yet to end; Ctrl-C once more ends the session, and loses what it holds",
            );
        }
        exit::exit_now(INTERRUPTED);
    });
    if let Err(cause) = listening {
        notice(format_args!(
            "warning: Ctrl-C will end the program without ending its work first: {cause}"
        ));
    }
}

#[cfg(unix)]
mod unix {
    use std::mem::zeroed;
    use std::ptr::{null, null_mut};
    use std::thread::{Builder, sleep};
    use std::time::Duration;

    use super::exit;
    use crate::system::interrupt;

    /// How long the work may take to end after SIGTERM or SIGHUP.
    const GRACE: Duration = Duration::from_secs(3);

    /// Blocks SIGTERM and SIGHUP, and waits for them on a thread of its own. Must be called before
    /// there are other threads, which inherit the blocked signals.
    pub fn install_handlers() {
        // SAFETY: every pointer is to a local value that outlives the call. `sigemptyset` and
        // `sigaction` initialize what they are given before it is read; all zeros are valid values
        // of both C structs.
        let signals = unsafe {
            // Without the signal, writing too large a file fails with EFBIG, which becomes an
            // error.
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            let mut signals = zeroed();
            libc::sigemptyset(&raw mut signals);
            for signal in [libc::SIGTERM, libc::SIGHUP] {
                let mut action: libc::sigaction = zeroed();
                libc::sigaction(signal, null(), &raw mut action);
                // An ignored signal stays ignored: under nohup the process outlives its terminal.
                if action.sa_sigaction != libc::SIG_IGN {
                    libc::sigaddset(&raw mut signals, signal);
                }
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, null_mut());
            signals
        };
        let wait = move || {
            let mut signal = 0;
            // SAFETY: both pointers are to values that outlive the call; `signals` is initialized.
            while unsafe { libc::sigwait(&raw const signals, &raw mut signal) } != 0 {}
            interrupt::request();
            sleep(GRACE);
            exit::exit_now(128_u8.saturating_add(u8::try_from(signal).unwrap_or(0)));
        };
        if Builder::new().name("signals".into()).spawn(wait).is_err() {
            // SAFETY: `signals` is an initialized copy that outlives the call.
            unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const signals, null_mut()) };
        }
    }
}
