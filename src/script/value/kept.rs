//! What hooks keep, they keep by value: a write into x after that does not show in it. A context
//! takes a twin of x at once; variables that the hook captured, and what they hold, are looked
//! through before x is written to.

use std::collections::HashSet;

use rhai::{Array, Dynamic, FnPtr, Map};

use super::record::Record;
use crate::script::value::Handle;

/// Puts a twin in the place of each hook's tensor in `value`, which is about to be kept.
pub fn by_value(value: &mut Dynamic) {
    let given = |handle: &Handle| handle.is_given();
    replace(value, &given, &mut |_| {});
}

/// Puts a twin in the place of `given` in all that a hook's function captured.
pub fn part(function: &FnPtr, given: &Handle) {
    let same = |handle: &Handle| handle.same(given);
    let mut waiting: Vec<Dynamic> = function.curry().to_vec();
    // A variable that holds a closure may be captured by it: each is gone through once.
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

/// Puts a twin in the place of every tensor of which `is` says so; variables that closures share go
/// to `shared`.
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
