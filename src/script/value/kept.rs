//! Hooks keep tensors by value: a later write to x does not show in what a hook kept. A context
//! stores a twin of x at once. In variables that the hook captured, x is replaced by a twin just
//! before it is written to.

use std::collections::{BTreeMap, HashSet};

use rhai::{Array, Dynamic, FnPtr, Map};

use super::record::Record;
use crate::script::value::Handle;

/// Replaces each tensor of a running hook in `value`, which a context is about to store, with a
/// twin.
pub fn by_value(value: &mut Dynamic) {
    replace(value, &|handle| handle.is_given().then(|| handle.twin()), &mut |_| {});
}

/// Replaces `given` with a twin in everything that a hook's function captured.
pub fn part(function: &FnPtr, given: &Handle) {
    within(function.curry().to_vec(), &|handle| handle.same(given).then(|| handle.twin()));
}

/// Takes the tensors in `values`, and in variables that closures among them share, out of the graph
/// that they were computed in.
pub fn leave_graph(values: Vec<Dynamic>) {
    within(values, &|handle| {
        handle.leave_graph();
        None
    });
}

/// The entries, with tensors outside of any graph in the places of those that belong to one. Who else
/// holds such a tensor keeps it as it is.
pub fn out_of_graph(entries: BTreeMap<String, Dynamic>) -> BTreeMap<String, Dynamic> {
    let outside = |handle: &Handle| {
        handle.is_tracked().then(|| {
            let twin = handle.twin();
            twin.leave_graph();
            twin
        })
    };
    let without = |(key, mut value)| {
        replace(&mut value, &outside, &mut |_| {});
        (key, value)
    };
    entries.into_iter().map(without).collect()
}

/// Replaces tensors in `values` and in the variables that closures share.
fn within(values: Vec<Dynamic>, by: &dyn Fn(&Handle) -> Option<Handle>) {
    let mut waiting = values;
    // A captured variable may hold the closure that captured it: each variable is visited once.
    let mut seen = HashSet::new();
    while let Some(mut value) = waiting.pop() {
        if !value.is_shared() {
            replace(&mut value, by, &mut |shared| waiting.push(shared.clone()));
        } else if let Some(mut held) = value.write_lock::<Dynamic>()
            && seen.insert(&raw const *held)
        {
            replace(&mut held, by, &mut |shared| waiting.push(shared.clone()));
        }
    }
}

/// Replaces every tensor by what `by` gives for it, if anything. Variables that closures share are
/// passed to `shared`.
fn replace(
    value: &mut Dynamic,
    by: &dyn Fn(&Handle) -> Option<Handle>,
    shared: &mut dyn FnMut(&Dynamic),
) {
    if value.is_shared() {
        return shared(value);
    }
    let found = value.read_lock::<Handle>().and_then(|handle| by(&handle));
    if let Some(twin) = found {
        *value = Dynamic::from(twin);
    } else if let Some(mut array) = value.write_lock::<Array>() {
        array.iter_mut().for_each(|item| replace(item, by, shared));
    } else if let Some(mut map) = value.write_lock::<Map>() {
        map.values_mut().for_each(|item| replace(item, by, shared));
    } else if let Some(mut map) = value.write_lock::<Record>() {
        map.values_mut().for_each(|item| replace(item, by, shared));
    } else if let Some(mut function) = value.write_lock::<FnPtr>() {
        function.iter_curry_mut().for_each(|captured| replace(captured, by, shared));
    }
}
