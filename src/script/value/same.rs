//! Whether two values are the same to a script.

use rhai::{Array, Dynamic};

use super::handle::Handle;
use super::record;

/// Whether a write-back changes nothing: the same handle, or equal data.
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
