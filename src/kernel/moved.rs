//! When variables were moved. An optimiser writes a variable's storage in place, and derivatives are
//! computed from what stands there: a graph that was made before has the variable's new numbers
//! beside results of the old ones, so nothing may go back through it.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};

use candle_core::{DType, Device, Result, Tensor, TensorId};

use super::differentiable::forget;

thread_local! {
    /// The number that was the next tensor's when a variable was moved last.
    static MOVED: RefCell<HashMap<TensorId, usize>> = RefCell::default();
}

/// The number of a tensor. candle counts tensors: one that is made later has a larger number.
fn number(x: &Tensor) -> usize {
    /// Keeps what it is given.
    struct Given(usize);
    impl Hasher for Given {
        fn write(&mut self, bytes: &[u8]) {
            self.0 = bytes.iter().rev().fold(0, |n, byte| (n << 8) | usize::from(*byte));
        }
        fn write_usize(&mut self, n: usize) {
            self.0 = n;
        }
        fn finish(&self) -> u64 {
            self.0 as u64
        }
    }
    // The number itself is private to candle, and all that is hashed of it.
    let mut given = Given(0);
    x.id().hash(&mut given);
    given.0
}

/// Notes that a variable is moved now.
///
/// # Errors
/// candle's.
pub fn note(variable: &Tensor) -> Result<()> {
    forget(variable);
    let now = number(&Tensor::zeros((), DType::U8, &Device::Cpu)?);
    MOVED.with_borrow_mut(|moved| moved.insert(variable.id(), now));
    Ok(())
}

/// The shape of a variable that was moved after `x`, or something that `x` was computed from, was
/// computed from it; `None` if all numbers are of variables as they stand.
pub fn since(x: &Tensor) -> Option<Vec<usize>> {
    let graph = x.sorted_nodes();
    let (variables, computed): (Vec<&Tensor>, Vec<&Tensor>) =
        graph.into_iter().partition(|node| node.is_variable());
    let moments = moments(&variables);
    let oldest = computed.iter().map(|node| number(node)).min()?;
    moments.range(oldest + 1..).find_map(|&moment| {
        // A node whose graph has been looked at has no such variable.
        let mut seen = HashSet::new();
        computed.iter().filter(|node| number(node) < moment).find_map(|node| {
            if seen.contains(&node.id()) {
                return None;
            }
            let graph = node.sorted_nodes();
            seen.extend(graph.iter().map(|node| node.id()));
            let moved = |node: &&&Tensor| moment_of(node).is_some_and(|at| at >= moment);
            graph.iter().find(moved).map(|variable| variable.dims().to_vec())
        })
    })
}

fn moment_of(variable: &Tensor) -> Option<usize> {
    MOVED.with_borrow(|moved| moved.get(&variable.id()).copied())
}

/// When the variables were moved, of those that were.
fn moments(variables: &[&Tensor]) -> BTreeSet<usize> {
    variables.iter().filter_map(|variable| moment_of(variable)).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;

    fn variable() -> Var {
        Var::new(&[1f64, 2.0], &Device::Cpu).unwrap()
    }

    #[test]
    fn later_tensors_have_larger_numbers() {
        let all: Vec<usize> = (0..100).map(|_| number(variable().as_tensor())).collect();
        assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
    }

    #[test]
    fn what_was_computed_from_a_variable_before_it_moved_is_old() {
        let (v, w, other) = (variable(), variable(), variable());
        let before = v.sqr().unwrap();
        let apart = w.sqr().unwrap();
        note(&other).unwrap();
        assert_eq!(since(&before), None);
        note(&v).unwrap();
        assert_eq!(since(&before), Some(vec![2]));
        assert_eq!(since(&apart), None);
        // As a part of something new, and beside what is new.
        let new = (v.exp().unwrap() * &apart).unwrap();
        assert_eq!(since(&new), None);
        let mixed = (&new + before.sum_all().unwrap().broadcast_as(2).unwrap()).unwrap();
        assert_eq!(since(&mixed), Some(vec![2]));
        // What is newer than one move may be older than another's.
        note(&w).unwrap();
        assert_eq!(since(&new), Some(vec![2]));
        assert_eq!(since(&v.exp().unwrap()), None);
        assert_eq!(since(&v), None);
    }
}
