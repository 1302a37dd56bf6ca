//! The end of the stack: values that a script nests without end are copied, shown and freed by
//! recursion, which nothing else stops. The process then ends with a sentence and exit code 1, or
//! begins again where it can.

/// Watches the end of this thread's stack of `size` bytes, of which little is used so far.
#[cfg(unix)]
pub fn watch(size: usize) {
    use std::ptr;
    use std::sync::atomic::Ordering::Relaxed;

    let here = 0_u8;
    END.store((&raw const here).addr().saturating_sub(size), Relaxed);
    // SAFETY: the handler calls nothing but write, sigaction, execve and _exit, and runs on the
    // stack that std gives each of its threads for signals.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            libc::sigaction(signal, &raw const action, ptr::null_mut());
        }
    }
}

/// Where the stack ends.
#[cfg(unix)]
static END: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

#[cfg(unix)]
extern "C" fn on_fault(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    use std::sync::atomic::Ordering::Relaxed;

    const SENTENCE: &[u8] = b"error: the script nests values too deeply, one within the other\n";
    /// What lies around the end: guard pages below, what was in use already above.
    const AROUND: usize = 1 << 20;

    // SAFETY: the system hands the handler a valid siginfo_t; the rest is system calls with valid
    // arguments.
    unsafe {
        let at = (*info).si_addr().addr();
        if at.abs_diff(END.load(Relaxed)) <= AROUND {
            libc::write(libc::STDERR_FILENO, SENTENCE.as_ptr().cast(), SENTENCE.len());
            super::reexec::begin();
            libc::_exit(1);
        }
        // Another fault is a bug: it happens again, and the system ends the process as ever.
        libc::signal(signal, libc::SIG_DFL);
    }
}

#[cfg(not(unix))]
pub fn watch(_size: usize) {}
