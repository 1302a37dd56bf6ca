//! Which values of a script are tensors with a graph of gradients, for the guard of
//! [`declare`](crate::script::declare).

use rhai::{Array, Dynamic, Map};

use super::Handle;
use super::record::Record;
use crate::kernel::differentiable::is_without_graph;
use crate::script::declare::Graph;

/// How the guard recognises tensors.
pub const GRAPH: Graph = Graph { is_tracked, is_severed, keep };

fn is_tracked(value: &Dynamic) -> bool {
    if let Some(handle) = value.read_lock::<Handle>() {
        return !is_without_graph() && handle.is_tracked();
    }
    if let Some(array) = value.read_lock::<Array>() {
        return array.iter().any(is_tracked);
    }
    value.read_lock::<Map>().is_some_and(|map| map.values().any(is_tracked))
}

/// A derivative may be computed from a tensor that stood beside one with a graph, so that a later
/// write must not change its storage.
fn keep(value: &Dynamic) {
    if let Some(handle) = value.read_lock::<Handle>() {
        handle.keep();
    } else if let Some(array) = value.read_lock::<Array>() {
        array.iter().for_each(keep);
    } else if let Some(map) = value.read_lock::<Map>() {
        map.values().for_each(keep);
    }
}

fn is_severed(value: &Dynamic) -> bool {
    if let Some(handle) = value.read_lock::<Handle>() {
        return handle.could_be_tracked() && !handle.is_tracked();
    }
    if let Some(array) = value.read_lock::<Array>() {
        return array.iter().any(is_severed);
    }
    let any = |map: &Map| map.values().any(is_severed);
    match value.read_lock::<Record>() {
        Some(record) => any(record.map()),
        None => value.read_lock::<Map>().is_some_and(|map| any(&map)),
    }
}
