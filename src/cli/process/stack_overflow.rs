//! Handles a stack overflow. Copying, showing and freeing a value recurses as deep as a script has
//! nested it, which no limit stops. The process then prints a sentence and ends with exit code 1,
//! or executes itself again if that was prepared.

/// Installs the handler for this thread, whose stack has `size` bytes of which few are used yet.
#[cfg(unix)]
pub fn install_handler(size: usize) {
    use std::ptr;
    use std::sync::atomic::Ordering::Relaxed;

    let here = 0_u8;
    END.store((&raw const here).addr().saturating_sub(size), Relaxed);
    // SAFETY: `action` is a valid sigaction: all zeros are valid, `sa_mask` is initialized, and the
    // handler has the signature that SA_SIGINFO demands. The handler calls only async-signal-safe
    // functions, and SA_ONSTACK runs it on the alternate stack that std gives each of its threads.
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

/// The lowest address of the stack, roughly.
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
    /// How far from [`END`] a fault may be: the guard pages below it, and above it the part of the
    /// stack that was in use when the handler was installed.
    const TOLERANCE: usize = 1 << 20;

    // SAFETY: the kernel passes a valid siginfo_t to a handler with SA_SIGINFO, and `si_addr` is
    // set for SIGSEGV and SIGBUS. `write` gets a static buffer and its length.
    unsafe {
        let at = (*info).si_addr().addr();
        if at.abs_diff(END.load(Relaxed)) <= TOLERANCE {
            libc::write(libc::STDERR_FILENO, SENTENCE.as_ptr().cast(), SENTENCE.len());
            super::reexec::exec();
            libc::_exit(1);
        }
        // Any other fault is a bug. The instruction is executed again, faults again, and the
        // default action ends the process.
        libc::signal(signal, libc::SIG_DFL);
    }
}

/// Does nothing: the system ends the process.
#[cfg(not(unix))]
pub fn install_handler(_size: usize) {}
