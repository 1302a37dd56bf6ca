//! Functions as values: when two are the same.

use rhai::{Dynamic, Engine, FnPtr};

use crate::script::value::Handle;
use crate::script::value::plain::plain;

/// Whether both are the same code, and captured the same variables.
fn same(a: &FnPtr, b: &FnPtr) -> bool {
    a.fn_name() == b.fn_name()
        && a.curry().len() == b.curry().len()
        && a.iter_curry().zip(b.iter_curry()).all(|(a, b)| same_capture(a, b))
}

/// Of variables it is asked which they are, not what they hold: that may be the closure itself.
fn same_capture(a: &Dynamic, b: &Dynamic) -> bool {
    if a.is_shared() && b.is_shared() {
        return match (a.read_lock::<Dynamic>(), b.read_lock::<Dynamic>()) {
            (Some(a), Some(b)) => std::ptr::eq(&raw const *a, &raw const *b),
            // Only the one that stands before the operator is in use.
            (None, None) => true,
            _ => false,
        };
    }
    if let (Some(a), Some(b)) = (a.read_lock::<Handle>(), b.read_lock::<Handle>()) {
        return a.same(&b);
    }
    a.type_id() == b.type_id() && plain(a).is_some_and(|a| plain(b) == Some(a))
}

pub fn install(engine: &mut Engine) {
    engine.register_fn("==", |a: &mut FnPtr, b: FnPtr| same(a, &b));
    engine.register_fn("!=", |a: &mut FnPtr, b: FnPtr| !same(a, &b));
}
