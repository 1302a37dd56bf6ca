//! How much memory the process holds, and a ceiling above which the [last
//! resort](super::abort_handler) is taken: what no check before an operation foresaw.
//!
//! The counts are those of [`CountingAllocator`], which a program installs as its allocator; without it
//! nothing is counted and there is no ceiling. Memory that lies outside (a mapped file, a GPU's) is
//! not in them.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use mimalloc::MiMalloc;
use sysinfo::{MemoryRefreshKind, System};

use super::abort_handler;
use super::abort_handler::Exhausted;

static LIVE: AtomicUsize = AtomicUsize::new(0);
/// Above this a script ends at its next step.
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Above this the last resort is taken at once.
static CEILING: AtomicUsize = AtomicUsize::new(usize::MAX);
/// What is said where the ceiling is met: text made then would need memory itself.
static SENTENCE: RwLock<String> = RwLock::new(String::new());

/// mimalloc, with a count.
pub struct CountingAllocator;

// SAFETY: every call goes to mimalloc as it came; besides that only numbers change.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { MiMalloc.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grow(size);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { MiMalloc.realloc(at, layout, size) }
    }
}

#[inline]
fn grow(bytes: usize) {
    let before = LIVE.fetch_add(bytes, Ordering::Relaxed);
    if before.saturating_add(bytes) > CEILING.load(Ordering::Relaxed) {
        end();
    }
}

/// An allocation can't fail in a way that Rust code survives.
#[cold]
fn end() {
    // Whatever is done now may allocate.
    CEILING.store(usize::MAX, Ordering::Relaxed);
    if let Ok(sentence) = SENTENCE.try_read() {
        abort_handler::invoke(Exhausted::Memory, &sentence);
    }
}

/// Keeps what is freed for some seconds before the system has it back: a pass makes tensors of the
/// same sizes again and again, and memory that is new to the process costs more than what is
/// written to it.
pub fn delay_purge() {
    /// `mi_option_purge_delay`, which the crate has no name for.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    const MILLISECONDS: std::ffi::c_long = 10_000;
    // SAFETY: it sets a number, before anything else runs.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, MILLISECONDS) };
}

/// The machine's memory, or the part of it that the process's control group allows, in bytes.
pub struct MachineMemory {
    /// What nobody uses.
    pub free: u64,
    pub total: u64,
    pub swap: u64,
}

impl MachineMemory {
    pub fn now() -> Self {
        let mut system = System::new();
        system.refresh_memory_specifics(MemoryRefreshKind::everything());
        let (free, total, swap) =
            (system.available_memory(), system.total_memory(), system.total_swap());
        match system.cgroup_limits() {
            Some(group) => Self {
                free: group.free_memory.min(free),
                total: group.total_memory.min(total),
                swap,
            },
            None => Self { free, total, swap },
        }
    }
}

/// Bytes allocated and not freed.
fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// Allows `bytes` besides what the process holds now. A single operation may pass that by an
/// eighth; beyond, the last resort is taken with `sentence`.
pub fn set_limit(bytes: usize, sentence: String) {
    *SENTENCE.write().unwrap_or_else(PoisonError::into_inner) = sentence;
    let limit = live().saturating_add(bytes);
    LIMIT.store(limit, Ordering::Relaxed);
    CEILING.store(limit.saturating_add(bytes / 8), Ordering::Relaxed);
}

/// Whether the process holds more than was allowed.
pub fn exceeded() -> bool {
    would_exceed(0)
}

/// Whether it would hold more with `bytes` more.
pub fn would_exceed(bytes: usize) -> bool {
    live().saturating_add(bytes) > LIMIT.load(Ordering::Relaxed)
}

/// What `f` leaves allocated does not count: a model is not the script's. While it works it may
/// take `bytes` besides what is allowed.
pub fn exclude_from_limit<R>(bytes: usize, f: impl FnOnce() -> R) -> R {
    let (ceiling, before) = (CEILING.load(Ordering::Relaxed), live());
    CEILING.store(ceiling.saturating_add(bytes), Ordering::Relaxed);
    let made = f();
    let left = live().saturating_sub(before);
    LIMIT.store(LIMIT.load(Ordering::Relaxed).saturating_add(left), Ordering::Relaxed);
    CEILING.store(ceiling.saturating_add(left), Ordering::Relaxed);
    made
}
