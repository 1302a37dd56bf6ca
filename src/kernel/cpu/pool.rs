//! The threads that loops are shared out to.
//!
//! They are made for cores that are not ours alone. A job is done when its work is done, whoever did
//! it: the thread that starts it works too and waits only for threads that have joined it, so one
//! that sleeps, or that another program keeps from running, holds nothing up. Who waits spins for some
//! microseconds, then offers its core to others, then sleeps.

use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How many times a thread looks again before it offers its core: a few microseconds.
const SPINS: usize = 200;
/// How long a thread that finds no job stays awake. Waking one takes longer than many loops do.
const AWAKE: Duration = Duration::from_millis(1);
/// How long the starter of a job stays awake for threads that are still at work on it.
const PATIENCE: Duration = Duration::from_micros(50);

/// Set in a pool's state while a job may be joined. Below it stands how many threads have joined the
/// job and are still at work, above it the job's number.
const OPEN: u64 = 1 << 16;
/// One job.
const ONE: u64 = 1 << 17;

/// What the threads of a job call, each once: it returns when nothing is left to do, and never
/// unwinds.
type Work<'a> = &'a (dyn Fn() + Sync);

/// Threads that sleep between jobs, and the job that they may join.
pub struct Pool {
    state: AtomicU64,
    /// Invariant: written only by the thread that holds `in_use`, while the state is not open and
    /// nobody is at work; read only by threads that have joined.
    job: UnsafeCell<Option<Job>>,
    in_use: AtomicBool,
    sleeping: AtomicUsize,
    bed: Mutex<()>,
    alarm: Condvar,
}

struct Job {
    /// Invariant: it lives until the starter has left [`Pool::share`], which is after every thread
    /// that joined has left the job.
    work: *const (dyn Fn() + Sync),
    starter: Thread,
}

// SAFETY: `job` is accessed as its invariant says, with the order of `state` between the accesses, and
// what it points to may be called from any thread.
unsafe impl Sync for Pool {}
// SAFETY: as above; nothing in it belongs to a thread.
unsafe impl Send for Pool {}

impl Pool {
    /// A pool of `helpers` threads beside those that start jobs. Threads that the system does not
    /// give are done without.
    pub fn start(helpers: usize) -> &'static Self {
        let pool: &'static Self = Box::leak(Box::new(Self {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            in_use: AtomicBool::new(false),
            sleeping: AtomicUsize::new(0),
            bed: Mutex::new(()),
            alarm: Condvar::new(),
        }));
        for _ in 0..helpers {
            let named = thread::Builder::new().name("precompute-loops".into());
            if named.spawn(|| pool.help()).is_err() {
                break;
            }
        }
        pool
    }

    /// Calls `work` on this thread and on those of the pool that are free, and returns when every
    /// call has. While another thread's job is shared, only this thread calls it.
    pub fn share(&self, work: Work) {
        if self.in_use.swap(true, Ordering::Acquire) {
            return work();
        }
        // SAFETY: only the lifetime is changed. `share` returns after all threads have left the job.
        let endless = unsafe { std::mem::transmute::<Work, Work<'static>>(work) };
        // SAFETY: this thread holds `in_use`, the last job is closed, and all have left it.
        unsafe { *self.job.get() = Some(Job { work: endless, starter: thread::current() }) };
        let number = self.state.load(Ordering::Relaxed) & !(ONE - 1);
        // In one order with `sleeping`: either this thread sees who sleeps, or that one sees the job.
        self.state.store(number.wrapping_add(ONE) | OPEN, Ordering::SeqCst);
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            let _bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
            self.alarm.notify_all();
        }
        work();
        self.state.fetch_and(!OPEN, Ordering::Relaxed);
        let mut wait = Wait::new(PATIENCE);
        while self.state.load(Ordering::Acquire) & (OPEN - 1) != 0 {
            if !wait.awake() {
                // The last to leave wakes this thread.
                thread::park();
            }
        }
        self.in_use.store(false, Ordering::Release);
    }

    /// Joins jobs for ever.
    fn help(&self) {
        let mut last = 0;
        let mut wait = Wait::new(AWAKE);
        loop {
            let state = self.state.load(Ordering::SeqCst);
            let number = state & !(ONE - 1);
            if state & OPEN == 0 || number == last {
                if !wait.awake() {
                    self.sleep(last);
                    wait = Wait::new(AWAKE);
                }
                continue;
            }
            let joined = self.state.compare_exchange_weak(
                state,
                state + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            if joined.is_err() {
                continue;
            }
            last = number;
            // SAFETY: this thread has joined, so the job stays until it leaves.
            let (work, starter) = match unsafe { &*self.job.get() } {
                // SAFETY: the job's invariant.
                Some(job) => (unsafe { &*job.work }, job.starter.clone()),
                None => unreachable!("a state is open after its job is set"),
            };
            work();
            let left = self.state.fetch_sub(1, Ordering::Release);
            if left & (ONE - 1) == 1 {
                starter.unpark();
            }
            wait = Wait::new(AWAKE);
        }
    }

    /// Sleeps until a job is started, unless there is another than number `last` already.
    fn sleep(&self, last: u64) {
        let bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        let state = self.state.load(Ordering::SeqCst);
        if state & OPEN == 0 || state & !(ONE - 1) == last {
            // It wakes also for a job that is done by then: others mostly follow.
            drop(self.alarm.wait(bed).unwrap_or_else(PoisonError::into_inner));
        }
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A wait: spins, then offers the core to others, for so long.
struct Wait {
    spins: usize,
    limit: Duration,
    since: Option<Instant>,
}

impl Wait {
    fn new(limit: Duration) -> Self {
        Self { spins: 0, limit, since: None }
    }

    /// Waits a moment; `false` when it has lasted long enough to sleep.
    fn awake(&mut self) -> bool {
        if self.spins < SPINS {
            self.spins += 1;
            spin_loop();
            return true;
        }
        thread::yield_now();
        self.since.get_or_insert_with(Instant::now).elapsed() < self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_join_also_after_they_slept() {
        let pool = Pool::start(2);
        for pause in [0, 0, 5, 20] {
            thread::sleep(Duration::from_millis(pause));
            // The job ends when three threads are in it.
            let inside = AtomicUsize::new(0);
            pool.share(&|| {
                inside.fetch_add(1, Ordering::Relaxed);
                while inside.load(Ordering::Relaxed) < 3 {
                    thread::yield_now();
                }
            });
            assert_eq!(inside.into_inner(), 3);
        }
    }

    #[test]
    fn a_job_is_over_when_share_returns() {
        let pool = Pool::start(3);
        for job in 0..20_000 {
            if job % 1000 == 0 {
                thread::sleep(2 * AWAKE);
            }
            let (next, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
            pool.share(&|| {
                while let at @ 0..20 = next.fetch_add(1, Ordering::Relaxed) {
                    sum.fetch_add(at, Ordering::Relaxed);
                }
            });
            assert_eq!(sum.into_inner(), 190);
        }
    }

    #[test]
    fn who_finds_the_pool_in_use_works_alone() {
        let pool = Pool::start(1);
        let outer = AtomicUsize::new(0);
        pool.share(&|| {
            let inner = AtomicUsize::new(0);
            pool.share(&|| {
                inner.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(inner.into_inner(), 1);
            outer.fetch_add(1, Ordering::Relaxed);
        });
        assert!((1..=2).contains(&outer.into_inner()));
    }
}
