//! The memory limit for tensors of the current thread (`--max-memory`). Callers register the memory
//! of tensors that they keep as [`Held`], and check new ones before allocating them.

use std::cell::{Cell, RefCell};

use bytesize::ByteSize;

use crate::{Result, error};

thread_local! {
    /// In bytes.
    static LIMIT: Cell<usize> = const { Cell::new(usize::MAX) };
    /// The sum of all [`Held`] in bytes.
    static HELD: Cell<usize> = const { Cell::new(0) };
    /// Releases memory that is held only as a cache.
    static SPARE: RefCell<Option<Spare>> = const { RefCell::new(None) };
}

type Spare = Box<dyn Fn()>;

/// Sets the limit in bytes.
pub fn set_limit(bytes: usize) {
    LIMIT.set(bytes);
}

/// Registers `let_go`, which releases cached tensors. It is called before a check fails.
pub fn set_spare(let_go: impl Fn() + 'static) {
    SPARE.set(Some(Box::new(let_go)));
}

/// Whether more memory is held than the limit allows.
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

/// Checks that a new tensor of shape `dims` and size `bytes` fits in the memory limit, and that the
/// allocator can provide a large one.
///
/// # Errors
/// It does not fit.
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
    /// 256 MiB. candle allocates infallibly, so a failed allocation would abort the process.
    /// Smaller tensors are not worth a trial allocation.
    const SURELY_FITS: usize = 1 << 28;
    if bytes > SURELY_FITS && Vec::<u8>::new().try_reserve_exact(bytes).is_err() {
        return Err(refused(String::new()));
    }
    Ok(())
}

/// Checks that a file of `bytes` that is about to be read fits in the memory limit.
///
/// # Errors
/// It does not fit.
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

/// Memory that counts as held until this is dropped.
#[derive(Debug, Default)]
pub struct Held(usize);

impl Held {
    /// Adds `bytes` to what the current thread holds.
    pub fn new(bytes: usize) -> Self {
        HELD.set(HELD.get().saturating_add(bytes));
        Self(bytes)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The thread-local is already gone if the tensor is dropped while its thread ends.
        let _ = HELD.try_with(|held| held.set(held.get().saturating_sub(self.0)));
    }
}
