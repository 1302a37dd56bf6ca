//! Hooks keep tensors by value: a later write to x does not show in what a hook kept. A context
//! stores a twin of x at once. In variables that the hook captured, x is replaced by a twin just
//! before it is written to.

use std::collections::HashSet;

use rhai::{Array, Dynamic, FnPtr, Map};

use super::record::Record;
use crate::script::value::Handle;

/// Replaces each tensor of a running hook in `value`, which a context is about to store, with a
/// twin.
pub fn by_value(value: &mut Dynamic) {
    let given = |handle: &Handle| handle.is_given();
    replace(value, &given, &mut |_| {});
}

/// Replaces `given` with a twin in everything that a hook's function captured.
pub fn part(function: &FnPtr, given: &Handle) {
    let same = |handle: &Handle| handle.same(given);
    let mut waiting: Vec<Dynamic> = function.curry().to_vec();
    // A captured variable may hold the closure that captured it: each variable is visited once.
    let mut seen = HashSet::new();
    while let Some(mut captured) = waiting.pop() {
        if !captured.is_shared() {
            replace(&mut captured, &same, &mut |shared| waiting.push(shared.clone()));
        } else if let Some(mut held) = captured.write_lock::<Dynamic>()
            && seen.insert(&raw const *held)
        {
            replace(&mut held, &same, &mut |shared| waiting.push(shared.clone()));
        }
    }
}

/// Replaces every tensor for which `is` is true with a twin. Variables that closures share are
/// passed to `shared`.
fn replace(value: &mut Dynamic, is: &dyn Fn(&Handle) -> bool, shared: &mut dyn FnMut(&Dynamic)) {
    if value.is_shared() {
        return shared(value);
    }
    let found = value.read_lock::<Handle>().filter(|handle| is(handle)).map(|handle| handle.twin());
    if let Some(twin) = found {
        *value = Dynamic::from(twin);
    } else if let Some(mut array) = value.write_lock::<Array>() {
        array.iter_mut().for_each(|item| replace(item, is, shared));
    } else if let Some(mut map) = value.write_lock::<Map>() {
        map.values_mut().for_each(|item| replace(item, is, shared));
    } else if let Some(mut map) = value.write_lock::<Record>() {
        map.values_mut().for_each(|item| replace(item, is, shared));
    } else if let Some(mut function) = value.write_lock::<FnPtr>() {
        function.iter_curry_mut().for_each(|captured| replace(captured, is, shared));
    }
}
