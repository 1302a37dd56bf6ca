//! The tensor handle that scripts hold, and when a write may happen in place.
//!
//! `let b = a;` is the same tensor. A write must never show in the model or in a tensor derived earlier, and
//! `log[layer] = x` must cost the size of x. So storage made by a script's own operation carries a lease, which every
//! value that shares the storage holds: whoever is its only holder writes in place, anyone else copies first. A tensor
//! that came from the model, or was handed to it, is never written in place.

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;

use candle_core::Tensor;

use crate::Result;
use crate::tensor::Value;
use crate::tensor::budget::Held;

#[derive(Clone)]
pub struct Handle(Rc<RefCell<Slot>>);

struct Slot {
    value: Value,
    lease: Rc<Lease>,
    /// Of a padded batch of token ids: which are real.
    mask: Option<Handle>,
}

/// Held by every value that shares one storage.
struct Lease {
    /// The model (or anyone else outside the script) holds the storage too.
    lent: Cell<bool>,
    /// What the script's memory is charged with for as long as the storage lives.
    _held: Held,
}

impl Lease {
    fn of(value: &Value) -> Rc<Self> {
        Rc::new(Self { lent: Cell::new(false), _held: Held::new(value.bytes()) })
    }
}

impl Handle {
    /// A value in storage that nothing else holds.
    pub fn fresh(value: Value) -> Self {
        let lease = Lease::of(&value);
        Self(Rc::new(RefCell::new(Slot { value, lease, mask: None })))
    }

    /// A value whose storage someone outside the script holds: a hook's input, a weight.
    pub fn lent(value: impl Into<Value>) -> Self {
        let handle = Self::fresh(value.into());
        handle.0.borrow().lease.lent.set(true);
        handle
    }

    /// The result of an operation on `inputs`: it shares their lease if it shares their storage.
    pub fn derived(value: Value, inputs: &[&Handle]) -> Self {
        let addresses = value.addresses();
        let lease = inputs.iter().find_map(|input| {
            let slot = input.0.borrow();
            let shares = slot.value.addresses().iter().any(|a| addresses.contains(a));
            shares.then(|| slot.lease.clone())
        });
        let lease = lease.unwrap_or_else(|| Lease::of(&value));
        Self(Rc::new(RefCell::new(Slot { value, lease, mask: None })))
    }

    pub fn value(&self) -> Ref<'_, Value> {
        Ref::map(self.0.borrow(), |slot| &slot.value)
    }

    /// Hands the value to someone who keeps it: from now on a write through this handle, or through one that shares its
    /// storage, copies first.
    pub fn lend(&self) -> Value {
        let slot = self.0.borrow();
        slot.lease.lent.set(true);
        slot.value.clone()
    }

    /// Writes through `write`, which gets contiguous tensors in storage that nothing else holds.
    pub fn write(&self, write: impl FnOnce(&Value) -> Result<()>) -> Result<()> {
        let mut slot = self.0.borrow_mut();
        let alone = Rc::strong_count(&slot.lease) == 1 && !slot.lease.lent.get();
        if !alone || !slot.value.parts().iter().all(|t| t.is_contiguous()) {
            slot.value.check_copy()?;
            slot.value = slot.value.deep_copy()?;
            slot.lease = Lease::of(&slot.value);
        }
        write(&slot.value)
    }

    /// The same token ids, carrying the mask of those that are real.
    pub fn with_mask(self, mask: Handle) -> Self {
        self.0.borrow_mut().mask = Some(mask);
        self
    }

    /// The mask that a padded batch of token ids carries.
    pub fn mask(&self) -> Option<Handle> {
        self.0.borrow().mask.clone()
    }

    /// Whether both are handles of the same tensor.
    pub fn same(&self, other: &Handle) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl From<Tensor> for Handle {
    fn from(tensor: Tensor) -> Self {
        Self::fresh(Value::Real(tensor))
    }
}
