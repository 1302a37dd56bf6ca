//! The signals that ask a process to end.

use super::exit;
use crate::system::interrupt;
use crate::system::message::notice;

/// Exit code of a run that the person interrupted, by the shell's custom: 128 and the signal's
/// number.
const INTERRUPTED: u8 = 130;

/// From now on a signal asks the work to end, which it does at its next step. A second Ctrl-C ends
/// the process at once, in a session a third; the other signals do when it takes too long.
pub fn listen() {
    #[cfg(unix)]
    unix::listen();
    let listening = ctrlc::set_handler(|| {
        if !interrupt::requested_by_person() {
            return interrupt::request();
        }
        if interrupt::should_warn_first() {
            return notice(
                "this step has yet to end; Ctrl-C once more ends the session, and loses what it holds",
            );
        }
        exit::now(INTERRUPTED);
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

    /// How long the work may take to end.
    const GRACE: Duration = Duration::from_secs(3);

    /// Must be called before there are other threads: they take over what is done about a signal.
    pub fn listen() {
        // SAFETY: every pointer is to a value that lives as long as the call. Blocked signals wait
        // for the thread below.
        let signals = unsafe {
            // Whoever writes a file that grows too large is told in a sentence.
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            let mut signals = zeroed();
            libc::sigemptyset(&raw mut signals);
            for signal in [libc::SIGTERM, libc::SIGHUP] {
                let mut action: libc::sigaction = zeroed();
                libc::sigaction(signal, null(), &raw mut action);
                // As of a process under nohup, which is to live on when its terminal goes.
                if action.sa_sigaction != libc::SIG_IGN {
                    libc::sigaddset(&raw mut signals, signal);
                }
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, null_mut());
            signals
        };
        let wait = move || {
            let mut signal = 0;
            // SAFETY: both point to values that live as long as the call.
            while unsafe { libc::sigwait(&raw const signals, &raw mut signal) } != 0 {}
            interrupt::request();
            sleep(GRACE);
            exit::now(128_u8.saturating_add(u8::try_from(signal).unwrap_or(0)));
        };
        if Builder::new().name("signals".into()).spawn(wait).is_err() {
            // SAFETY: as above.
            unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const signals, null_mut()) };
        }
    }
}
