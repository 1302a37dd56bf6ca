//! Equality of values as Rhai sees them when it assigns a property back.

use rhai::{Array, Dynamic};

use super::handle::Handle;
use super::record;

/// Whether assigning `b` in place of `a` would change nothing: both are the same tensor, or equal
/// data.
pub fn is_same(a: &Dynamic, b: &Dynamic) -> bool {
    if let (Some(a), Some(b)) = (a.read_lock::<Handle>(), b.read_lock::<Handle>()) {
        return a.same(&b);
    }
    if let (Some(a), Some(b)) = (record::read(a), record::read(b)) {
        return a.len() == b.len()
            && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_same(a, b)));
    }
    if let (Some(a), Some(b)) = (a.read_lock::<Array>(), b.read_lock::<Array>()) {
        return a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| is_same(a, b));
    }
    a.type_id() == b.type_id() && a.to_string() == b.to_string()
}
