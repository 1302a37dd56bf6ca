//! The way back through a graph.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor};

thread_local! {
    /// The ways back in progress on this thread, the innermost last: a hook on a way back may go back
    /// through another graph, or through a part of the same.
    static RUNS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Goes back from `loss`: its gradients with regard to all variables that it depends on.
///
/// # Errors
/// Those of a derivative on the way; a node without one.
pub fn backward(loss: &Tensor) -> Result<GradStore> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            RUNS.with_borrow_mut(Vec::pop);
        }
    }
    RUNS.with_borrow_mut(|runs| runs.push(NEXT.fetch_add(1, Ordering::Relaxed)));
    let _guard = Guard;
    loss.backward()
}

/// The number of the innermost way back in progress.
pub(super) fn present() -> u64 {
    RUNS.with_borrow(|runs| runs.last().copied().unwrap_or_default())
}

/// Whether the way back of this number is in progress. One that failed left gradients in its graph.
pub(super) fn is_in_progress(run: u64) -> bool {
    run == present() || RUNS.with_borrow(|runs| runs.contains(&run))
}
