//! Loops on all cores, by candle's pool: its threads wait for more work awake for about a
//! millisecond before they sleep, and the thread that asks computes too. Waking a thread takes
//! longer than many of these loops.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use candle_core::utils::barrier_pool;

/// Elements for one task, so that starting it costs nothing beside them.
pub const TASK: usize = 1 << 14;

thread_local! {
    /// Whether this thread waits for a loop to end: the pool runs one at a time.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// How many threads there are.
pub fn threads() -> usize {
    barrier_pool().n_workers() + 1
}

/// `f` of each number below `count`, in any order. A loop within a loop runs on its own thread.
pub fn each(count: usize, f: impl Fn(usize) + Sync) {
    struct Free;
    impl Drop for Free {
        fn drop(&mut self) {
            BUSY.set(false);
        }
    }
    if count <= 1 || BUSY.get() || threads() == 1 {
        return (0..count).for_each(f);
    }
    let next = AtomicUsize::new(0);
    // Some tasks at a time, but so few that threads end together.
    let some = (count / (16 * threads())).max(1);
    let run = || loop {
        let first = next.fetch_add(some, Ordering::Relaxed);
        if first >= count {
            break;
        }
        (first..count.min(first + some)).for_each(&f);
    };
    // A panic that passed through the pool would leave its lock poisoned for good.
    let panic = Mutex::new(None);
    barrier_pool().execute(|_| {
        BUSY.set(true);
        let _free = Free;
        if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
            *panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(payload);
        }
    });
    if let Some(payload) = panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(payload);
    }
}

/// `f` of each piece of `size` elements, with its number; the last may be smaller.
pub fn pieces<T: Send>(all: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let (count, start) = (all.len(), Start(all.as_mut_ptr()));
    let size = size.max(1);
    each(count.div_ceil(size), |piece| {
        let first = piece * size;
        // SAFETY: pieces lie in `all` and have no element in common, and each is used by one call.
        f(piece, unsafe {
            std::slice::from_raw_parts_mut(start.at(first), size.min(count - first))
        });
    });
}

/// `f` of each row of `width` elements, with its number. A row costs as much as `cost` elements: as
/// many as are worth it are one task.
pub fn rows<T: Send>(all: &mut [T], width: usize, cost: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let width = width.max(1);
    let some = TASK.div_ceil(cost.max(1));
    pieces(all, some * width, |piece, rows| {
        for (row, out) in rows.chunks_mut(width).enumerate() {
            f(piece * some + row, out);
        }
    });
}

/// Where elements begin that tasks share.
pub struct Start<T>(pub *mut T);

// SAFETY: each task uses elements of its own, which may go to another thread.
unsafe impl<T: Send> Sync for Start<T> {}

impl<T> Start<T> {
    pub fn at(&self, offset: usize) -> *mut T {
        self.0.wrapping_add(offset)
    }

    /// Elements, which may not have been written yet.
    ///
    /// # Safety
    /// There are so many, and nobody else uses them.
    #[allow(clippy::mut_from_ref, reason = "each task has a piece of its own")]
    pub unsafe fn piece(&self, first: usize, count: usize) -> &mut [MaybeUninit<T>] {
        // SAFETY: as the caller says.
        unsafe { std::slice::from_raw_parts_mut(self.at(first).cast(), count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_met_once_also_in_loops_within_loops() {
        for count in [0, 1, 2, 7, 1000] {
            let mut all = vec![0; count * 5];
            pieces(&mut all, 5, |piece, out| {
                pieces(out, 2, |within, out| {
                    out.iter_mut().for_each(|x| *x += 10 * piece + within)
                });
            });
            assert!(
                all.iter().enumerate().all(|(at, &x)| x == 10 * (at / 5) + at % 5 / 2),
                "{count}"
            );
        }
        let mut all = vec![0; 3 * 100_000];
        rows(&mut all, 3, 3, |row, out| out.fill(row));
        assert!(all.iter().enumerate().all(|(at, &x)| x == at / 3));
    }

    #[test]
    fn threads_that_ask_at_once_and_panics_do_no_harm() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let sum = AtomicUsize::new(0);
                        each(100, |i| {
                            sum.fetch_add(i, Ordering::Relaxed);
                        });
                        assert_eq!(sum.into_inner(), 4950);
                    }
                });
            }
        });
        let caught = std::panic::catch_unwind(|| each(100, |i| assert_ne!(i, 50)));
        assert!(caught.is_err());
        let sum = AtomicUsize::new(0);
        each(10, |i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 45);
    }
}
