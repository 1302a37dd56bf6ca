//! Counts the process's memory and limits it.
//!
//! Above the limit a script ends at its next step. Above the ceiling, an eighth higher, the
//! [abort handler](super::abort_handler) is called at once, for an operation that no check foresaw.
//!
//! [`CountingAllocator`] counts; a program must install it as its global allocator, or there is no
//! limit. Memory outside the heap (a mapped file, a GPU's) is not counted.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use mimalloc::MiMalloc;
use sysinfo::{MemoryRefreshKind, System};

use super::abort_handler;
use super::abort_handler::Exhausted;

/// Bytes allocated and not freed.
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// Above this many bytes a script ends at its next step.
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Above this many bytes the abort handler is called at once.
static CEILING: AtomicUsize = AtomicUsize::new(usize::MAX);
/// The sentence for the abort handler, made beforehand: at the ceiling memory is scarce.
static SENTENCE: RwLock<String> = RwLock::new(String::new());

/// mimalloc, and a count of the bytes that are allocated.
pub struct CountingAllocator;

// SAFETY: every method passes its arguments unchanged to `MiMalloc`, which upholds the contract of
// `GlobalAlloc`, and returns its result unchanged. Besides that it changes atomic counters, and
// calls the abort handler, which must not unwind (see `abort_handler::set`).
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(counted(layout, layout.size()));
        // SAFETY: the caller guarantees what `alloc` demands of `layout`.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(counted(layout, layout.size()));
        // SAFETY: the caller guarantees what `alloc_zeroed` demands of `layout`.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(counted(layout, layout.size()), Ordering::Relaxed);
        // SAFETY: the caller guarantees that this allocator, hence `MiMalloc`, returned `at` for
        // `layout`.
        unsafe { MiMalloc.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grow(counted(layout, size));
        LIVE.fetch_sub(counted(layout, layout.size()), Ordering::Relaxed);
        // SAFETY: the caller guarantees that this allocator, hence `MiMalloc`, returned `at` for
        // `layout`, and that `size` is valid.
        unsafe { MiMalloc.realloc(at, layout, size) }
    }
}

/// The bytes of an allocation that count. `private-gemm-x86` reserves twice the third-level cache
/// for each thread, aligned to pages, and writes to little of it: on a large server that would be
/// tens of GB which take no memory. Nothing else aligns to pages.
#[inline]
fn counted(layout: Layout, size: usize) -> usize {
    const PAGE: usize = 4096;
    if layout.align() < PAGE { size } else { 0 }
}

#[inline]
fn grow(bytes: usize) {
    let before = LIVE.fetch_add(bytes, Ordering::Relaxed);
    if before.saturating_add(bytes) > CEILING.load(Ordering::Relaxed) {
        call_abort_handler();
    }
}

/// Called instead of failing the allocation, which Rust code does not survive either.
#[cold]
fn call_abort_handler() {
    // The handler may allocate, which must not call it again.
    CEILING.store(usize::MAX, Ordering::Relaxed);
    if let Ok(sentence) = SENTENCE.try_read() {
        abort_handler::invoke(Exhausted::Memory, &sentence);
    }
}

/// Keeps freed memory for ten seconds before it goes back to the system. Passes allocate tensors of
/// the same sizes again and again, and page faults on fresh memory cost more than writing to it.
pub fn delay_purge() {
    /// `mi_option_purge_delay` of mimalloc 2, which libmimalloc-sys does not name.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    const MILLISECONDS: std::ffi::c_long = 10_000;
    // SAFETY: `PURGE_DELAY` is a valid option, and setting one only stores a number in mimalloc's
    // table. No allocation depends on its value.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, MILLISECONDS) };
}

/// The machine's memory in bytes, or what the process's control group allows of it.
pub struct MachineMemory {
    /// Memory that is available to new allocations.
    pub free: u64,
    /// All memory.
    pub total: u64,
    /// All swap space of the machine.
    pub swap: u64,
}

impl MachineMemory {
    /// Reads the current values from the system.
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

fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// Sets the limit to `bytes` more than the process holds now, and the ceiling to an eighth more
/// than that. At the ceiling the abort handler is called with `sentence`.
pub fn set_limit(bytes: usize, sentence: String) {
    *SENTENCE.write().unwrap_or_else(PoisonError::into_inner) = sentence;
    let limit = live().saturating_add(bytes);
    LIMIT.store(limit, Ordering::Relaxed);
    CEILING.store(limit.saturating_add(bytes / 8), Ordering::Relaxed);
}

/// Whether the process holds more than the limit.
pub fn exceeded() -> bool {
    would_exceed(0)
}

/// Whether the process would hold more than the limit with `bytes` more.
pub fn would_exceed(bytes: usize) -> bool {
    live().saturating_add(bytes) > LIMIT.load(Ordering::Relaxed)
}

/// Runs `f` and raises the limit by what it leaves allocated: a model does not count as the
/// script's memory. While `f` runs, the ceiling is `bytes` higher.
pub fn exclude_from_limit<R>(bytes: usize, f: impl FnOnce() -> R) -> R {
    let (ceiling, before) = (CEILING.load(Ordering::Relaxed), live());
    CEILING.store(ceiling.saturating_add(bytes), Ordering::Relaxed);
    let made = f();
    let left = live().saturating_sub(before);
    LIMIT.store(LIMIT.load(Ordering::Relaxed).saturating_add(left), Ordering::Relaxed);
    CEILING.store(ceiling.saturating_add(left), Ordering::Relaxed);
    made
}
