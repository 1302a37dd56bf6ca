//! A look at gradients on their way back.

use std::cell::RefCell;
use std::rc::Rc;

use candle_core::{Tensor, TensorId};

/// What is called with a tensor of the graph and a gradient that reaches it.
type See = Rc<dyn Fn(TensorId, &Tensor)>;

thread_local! {
    static SEE: RefCell<Option<See>> = const { RefCell::new(None) };
}

/// Calls `f`, during which `see` is called with each result of an operation of this crate and its
/// gradient, and with each of its inputs and what the operation adds to the input's gradient.
pub fn watching<R>(see: impl Fn(TensorId, &Tensor) + 'static, f: impl FnOnce() -> R) -> R {
    /// What was called before.
    struct Before(Option<See>);
    impl Drop for Before {
        fn drop(&mut self) {
            SEE.replace(self.0.take());
        }
    }
    let _before = Before(SEE.replace(Some(Rc::new(see))));
    f()
}

/// Shows a gradient to who watches.
pub(super) fn show(tensor: TensorId, gradient: &Tensor) {
    let see = SEE.with_borrow(Clone::clone);
    if let Some(see) = see {
        see(tensor, gradient);
    }
}
