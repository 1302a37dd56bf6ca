//! When variables were moved. An optimiser writes a variable's storage in place, and derivatives are
//! computed from what stands there: a graph that was made before has the variable's new numbers
//! beside results of the old ones, so nothing may go back through it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use candle_core::{Tensor, TensorId};

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
    static MOVED: RefCell<HashMap<TensorId, u64>> = RefCell::default();
}

/// The present moment: the number of times that variables were moved on this thread.
pub fn now() -> u64 {
    NOW.get()
}

/// Notes that a variable is moved now.
pub fn note(variable: &Tensor) {
    NOW.set(NOW.get() + 1);
    MOVED.with_borrow_mut(|moved| moved.insert(variable.id(), NOW.get()));
}

/// The shape of a variable in the graph of `x` that was moved after the moment `since`; `None` if
/// all are as they were.
pub fn since(x: &Tensor, since: u64) -> Option<Vec<usize>> {
    if now() == since {
        return None;
    }
    let of_graph = x.sorted_nodes();
    let variables = of_graph.iter().filter(|node| node.is_variable());
    MOVED.with_borrow(|moved| {
        variables
            .filter(|variable| moved.get(&variable.id()).is_some_and(|at| *at > since))
            .map(|variable| variable.dims().to_vec())
            .next()
    })
}
