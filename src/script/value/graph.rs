//! Which values of a script are tensors with a graph of gradients, for the guard of
//! [`declare`](crate::script::declare).

use rhai::{Array, Dynamic, Map};

use super::Handle;
use super::record::Record;
use crate::kernel::differentiable::is_without_graph;
use crate::script::declare::Graph;

/// How the guard recognises tensors.
pub const GRAPH: Graph = Graph { is_tracked, is_severed };

fn is_tracked(value: &Dynamic) -> bool {
    if let Some(handle) = value.read_lock::<Handle>() {
        return !is_without_graph() && handle.is_tracked();
    }
    value.read_lock::<Array>().is_some_and(|array| array.iter().any(is_tracked))
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
