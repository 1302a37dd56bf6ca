//! How much memory tensors may take in this thread: what is held is counted, and what would be too
//! much is refused before it is allocated.

use std::cell::{Cell, RefCell};

use bytesize::ByteSize;

use crate::{Result, error};

thread_local! {
    static LIMIT: Cell<usize> = const { Cell::new(usize::MAX) };
    static HELD: Cell<usize> = const { Cell::new(0) };
    /// Lets go of what is held only because it may be of use again.
    static SPARE: RefCell<Option<Spare>> = const { RefCell::new(None) };
}

type Spare = Box<dyn Fn()>;

/// The most bytes that may be held from now on.
pub fn set_limit(bytes: usize) {
    LIMIT.set(bytes);
}

/// Has `let_go` called before anything is refused.
pub fn set_spare(let_go: impl Fn() + 'static) {
    SPARE.set(Some(Box::new(let_go)));
}

/// Whether more is held than may be.
pub fn exceeded() -> bool {
    !fits(0)
}

fn fits(bytes: usize) -> bool {
    let fits = || HELD.get().saturating_add(bytes) <= LIMIT.get();
    fits() || {
        SPARE.with_borrow(|spare| spare.iter().for_each(|let_go| let_go()));
        fits()
    }
}

/// # Errors
/// A tensor of `dims`, which takes `bytes` more, is more than may be held.
pub fn check(dims: &[usize], bytes: usize) -> Result<()> {
    let fits = fits(bytes);
    let (held, limit) = (HELD.get(), LIMIT.get());
    let size = |bytes: usize| ByteSize(bytes as u64).display().iec().to_string();
    let refused = |why: String| {
        error!("a tensor {dims:?} does not fit in memory: it takes {}{why}", size(bytes))
    };
    if !fits {
        let taken =
            if held == 0 { String::new() } else { format!(", of which {} are taken", size(held)) };
        return Err(refused(format!(", and tensors may take {}{taken}", size(limit)))
            .help("--max-memory allows more"));
    }
    /// Below this many bytes nobody asks the allocator first: it ends the process where it can't
    /// give them.
    const SURELY_FITS: usize = 1 << 28;
    if bytes > SURELY_FITS && Vec::<u8>::new().try_reserve_exact(bytes).is_err() {
        return Err(refused(String::new()));
    }
    Ok(())
}

/// # Errors
/// A file of so many bytes is more than may be held.
pub fn check_bytes(bytes: u64) -> Result<()> {
    if fits(usize::try_from(bytes).unwrap_or(usize::MAX)) {
        return Ok(());
    }
    let limit = LIMIT.get() as u64;
    let size = |bytes: u64| ByteSize(bytes).display().iec().to_string();
    Err(error!(
        "a file of {} does not fit in memory: tensors may take {}",
        size(bytes),
        size(limit)
    )
    .help("--max-memory allows more"))
}

/// Bytes that are held, until it is dropped.
#[derive(Debug, Default)]
pub struct Held(usize);

impl Held {
    pub fn new(bytes: usize) -> Self {
        HELD.set(HELD.get().saturating_add(bytes));
        Self(bytes)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A tensor that a thread's end destroys is counted by nobody any more.
        let _ = HELD.try_with(|held| held.set(held.get().saturating_sub(self.0)));
    }
}
