//! Parallel loops on the threads of the one pool of this crate (`pool`).
//!
//! `faer` and `gemm` have loops of their own, on rayon's pool. How many threads they may use is set
//! where they are called, in `tensor::linalg` and `cpu::sgemm`.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::available_parallelism;

use candle_core::utils::get_num_threads;

use super::pool::Pool;

/// Elements per task, so many that starting a task costs little compared with its work.
pub const CHUNK: usize = 1 << 14;

thread_local! {
    /// Whether this thread is inside a loop: loops inside loops run on the thread that they are in.
    static IN_LOOP: Cell<bool> = const { Cell::new(false) };
}

/// The environment variable that sets how many threads this crate, candle and rayon compute on. It is
/// read once.
pub const VARIABLE: &str = "RAYON_NUM_THREADS";

/// How many threads the process's CPU affinity and its cgroup's quota let run at once.
pub fn allowed() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// How many threads a loop runs on: candle's choice ([`VARIABLE`], or the physical cores), but no more
/// than are [`allowed`].
pub fn threads() -> usize {
    static THREADS: LazyLock<usize> = LazyLock::new(|| get_num_threads().clamp(1, allowed()));
    *THREADS
}

/// Calls `f` with each number below `count`, in any order.
///
/// # Panics
/// With the first panic of `f`, once all threads have left the loop.
pub fn each(count: usize, f: impl Fn(usize) + Sync) {
    ranges(count, &|range| range.for_each(&f));
}

/// Calls `f` with ranges that together are the numbers below `count`. It is no generic function, so
/// that its code is compiled once and not for each of some 1,400 loops.
fn ranges(count: usize, f: &(dyn Fn(Range<usize>) + Sync)) {
    static POOL: LazyLock<&Pool> = LazyLock::new(|| Pool::start(threads() - 1));
    struct LeaveLoop;
    impl Drop for LeaveLoop {
        fn drop(&mut self) {
            IN_LOOP.set(false);
        }
    }
    if count <= 1 || IN_LOOP.get() || threads() == 1 {
        return f(0..count);
    }
    let next = AtomicUsize::new(0);
    // Several tasks at a time, but few enough that all threads finish at about the same time.
    let step = (count / (16 * threads())).max(1);
    let run = || loop {
        let first = next.fetch_add(step, Ordering::Relaxed);
        if first >= count {
            break;
        }
        f(first..count.min(first + step));
    };
    let panic = Mutex::new(None);
    POOL.share(&|| {
        IN_LOOP.set(true);
        let _leave = LeaveLoop;
        if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
            *panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(payload);
        }
    });
    if let Some(payload) = panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(payload);
    }
}

/// The results of `f` for each number below `count`, in order.
pub fn map<R: Send>(count: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let mut results: Vec<Option<R>> = Vec::new();
    results.resize_with(count, || None);
    chunks(&mut results, 1, |i, result| result[0] = Some(f(i)));
    results.into_iter().flatten().collect()
}

/// Calls `f` with the number and the elements of each chunk of `size` elements; the last chunk may
/// be smaller.
pub fn chunks<T: Send>(all: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let (count, size) = (all.len(), size.max(1));
    let all = Disjoint::new(all);
    each(count.div_ceil(size), |chunk| {
        let range = chunk * size..count.min((chunk + 1) * size);
        // SAFETY: chunks of different numbers have no element in common, and `each` calls this once
        // for each number.
        f(chunk, unsafe { all.part(range) });
    });
}

/// Calls `f` with the number and the elements of each row of `width` elements. `cost` is how many
/// elements' worth of work a row is: a task gets as many rows as make it worth starting.
pub fn rows<T: Send>(all: &mut [T], width: usize, cost: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let width = width.max(1);
    let per_task = CHUNK.div_ceil(cost.max(1));
    chunks(all, per_task * width, |task, rows| {
        for (row, out) in rows.chunks_mut(width).enumerate() {
            f(task * per_task + row, out);
        }
    });
}

/// A slice that the tasks of a loop share, each using a part that no other task uses.
///
/// Invariant: `start` and `len` come from a slice that is mutably borrowed for `'a`, so while this
/// value lives the elements can be reached only through it, and every access through it is `unsafe`:
/// the code of the loop guarantees that two tasks never use the same element.
pub struct Disjoint<'a, T> {
    start: *mut T,
    len: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: sharing the value shares no element, since (by the type's invariant) each element is used
// by one task; it may be used on another thread than the slice's own, which `T: Send` permits.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    /// Shares a slice.
    pub fn new(all: &'a mut [T]) -> Self {
        Self { start: all.as_mut_ptr(), len: all.len(), borrowed: PhantomData }
    }

    /// The elements of a range.
    ///
    /// # Safety
    /// While the result lives nothing else uses an element of the range.
    ///
    /// # Panics
    /// The range reaches beyond the slice.
    #[allow(clippy::mut_from_ref, reason = "the ranges of different tasks do not overlap")]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: the range lies within the slice that was borrowed, and the caller guarantees that
        // nothing else uses its elements.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// The address of an element, for parts that are not contiguous. Using it is subject to the
    /// type's invariant.
    ///
    /// # Panics
    /// The slice has no such element.
    pub fn at(&self, index: usize) -> *mut T {
        assert!(index <= self.len, "{index} of {}", self.len);
        self.start.wrapping_add(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_met_once_also_in_loops_within_loops() {
        for count in [0, 1, 2, 7, 1000] {
            let mut all = vec![0; count * 5];
            chunks(&mut all, 5, |piece, out| {
                chunks(out, 2, |within, out| {
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
    fn results_are_in_order() {
        assert_eq!(map(1000, |i| i * i), (0..1000).map(|i| i * i).collect::<Vec<_>>());
        assert!(map(0, |i| i).is_empty());
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
