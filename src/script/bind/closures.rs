//! `==` and `!=` for functions, and what they show of themselves.

use rhai::{Dynamic, FnPtr};

use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::program::own_names::{in_words, written};
use crate::script::value::Handle;
use crate::script::value::plain::plain;

/// Whether both have the same code and captured the same variables.
fn same(a: &FnPtr, b: &FnPtr) -> bool {
    a.fn_name() == b.fn_name()
        && a.curry().len() == b.curry().len()
        && a.iter_curry().zip(b.iter_curry()).all(|(a, b)| same_capture(a, b))
}

/// Whether two captures are the same variable. Their values are not compared, because the value of
/// a captured variable may be the closure itself.
fn same_capture(a: &Dynamic, b: &Dynamic) -> bool {
    if a.is_shared() && b.is_shared() {
        return match (a.read_lock::<Dynamic>(), b.read_lock::<Dynamic>()) {
            (Some(a), Some(b)) => std::ptr::eq(&raw const *a, &raw const *b),
            // The operator has locked both: they can only be the variable before the operator.
            (None, None) => true,
            _ => false,
        };
    }
    if let (Some(a), Some(b)) = (a.read_lock::<Handle>(), b.read_lock::<Handle>()) {
        return a.same(&b);
    }
    a.type_id() == b.type_id() && plain(a).is_some_and(|a| plain(b) == Some(a))
}

/// What `print` shows of a function, with its name as the script has it.
fn text(function: &mut FnPtr) -> String {
    in_words(&function.to_string()).into_owned()
}

/// Registers what is said above.
pub fn install(registry: &mut Registry) {
    registry
        .declare("==", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .function(|a: &mut FnPtr, b: FnPtr| same(a, &b));
    registry
        .declare("!=", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .function(|a: &mut FnPtr, b: FnPtr| !same(a, &b));
    for name in ["to_string(x)", "to_debug(x)"] {
        registry.declare(name, Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors).function(text);
    }
    registry
        .declare(".name", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row("of a function: its name", "Fn(\"sum\").name", "sum")
        .get(|function: &mut FnPtr| written(function.fn_name()).to_owned());
}
