//! The tensor handle that scripts hold, and when a write may happen in place.
//!
//! `let b = a;` is the same tensor. A write must never show in the model or in a tensor derived earlier, and
//! `log[layer] = x` must cost the size of x. So storage made by a script's own operation carries a lease, which every
//! value that shares the storage holds: whoever is its only holder writes in place, anyone else copies first. A tensor
//! that came from the model, or was handed to it, is never written in place.

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;

use candle_core::Tensor;

use super::frozen::{Frozen, Journal, Write};
use crate::Result;
use crate::tensor::budget::Held;
use crate::tensor::index::{self, Index};
use crate::tensor::{Operand, Value};

#[derive(Clone)]
pub struct Handle(Rc<RefCell<Slot>>);

struct Slot {
    value: Value,
    lease: Rc<Lease>,
    /// Of a padded batch of token ids: which are real.
    mask: Option<Handle>,
    /// How often it was written to.
    version: u64,
    /// What was written since its value was last kept elsewhere.
    journal: Option<Journal>,
    /// Of what it holds now, once someone asked.
    digest: Option<[u8; 32]>,
}

/// Held by every value that shares one storage.
pub struct Lease {
    /// The model (or anyone else outside the script) holds the storage too.
    lent: Cell<bool>,
    /// What the script's memory is charged with for as long as the storage lives.
    _held: Held,
}

impl Lease {
    pub fn of(value: &Value) -> Rc<Self> {
        Rc::new(Self { lent: Cell::new(false), _held: Held::new(value.bytes()) })
    }
}

impl Handle {
    /// A value in storage that nothing else holds.
    pub fn fresh(value: Value) -> Self {
        let lease = Lease::of(&value);
        Self::leased(value, lease, None)
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
        Self::leased(value, lease, None)
    }

    fn leased(value: Value, lease: Rc<Lease>, journal: Option<Journal>) -> Self {
        Self(Rc::new(RefCell::new(Slot { value, lease, mask: None, version: 0, journal, digest: None })))
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
        slot.journal = None;
        slot.write(write)
    }

    /// Writes `source` into the part that `indexes` select.
    pub fn assign(&self, indexes: &[Index], source: Operand) -> Result<()> {
        let mut slot = self.0.borrow_mut();
        slot.write(|target| index::set(target, indexes, source))?;
        if let Some(journal) = &mut slot.journal {
            journal.push(Write::new(indexes, &source)?);
            if journal.is_long() {
                slot.journal = None;
            }
        }
        Ok(())
    }

    /// Whether what is written is noted, so that a source must not change afterwards.
    pub fn is_journalled(&self) -> bool {
        self.0.borrow().journal.is_some()
    }

    /// How often it was written to.
    pub fn version(&self) -> u64 {
        self.0.borrow().version
    }

    /// The value as it is now, kept so that writes to this handle do not show in it. What is kept of a tensor that is
    /// written part by part is the parts.
    pub fn freeze(&self) -> Frozen {
        let mut slot = self.0.borrow_mut();
        let slot = &mut *slot;
        slot.journal.get_or_insert_with(|| Journal::new(slot.value.clone(), slot.lease.clone())).freeze()
    }

    /// Notes no more of what is written.
    pub fn forget_writes(&self) {
        self.0.borrow_mut().journal = None;
    }

    /// A handle of a value that was kept.
    ///
    /// # Errors
    /// There is no memory for it on its device.
    pub fn thawed(frozen: &Frozen) -> Result<Self> {
        let (value, lease) = frozen.thaw()?;
        Ok(Self::leased(value, lease, Some(frozen.journal())))
    }

    /// Makes this the handle of a value that was kept.
    ///
    /// # Errors
    /// As [`thawed`](Self::thawed).
    pub fn restore(&self, frozen: &Frozen) -> Result<()> {
        let (value, lease) = frozen.thaw()?;
        let mut slot = self.0.borrow_mut();
        (slot.value, slot.lease, slot.journal) = (value, lease, Some(frozen.journal()));
        slot.version += 1;
        slot.digest = None;
        Ok(())
    }

    /// The digest of what it holds, worked out by `of` if it is not known.
    ///
    /// # Errors
    /// Those of `of`.
    pub fn digest(&self, of: impl FnOnce(&Value) -> Result<[u8; 32]>) -> Result<[u8; 32]> {
        if let Some(known) = self.0.borrow().digest {
            return Ok(known);
        }
        let digest = of(&self.value())?;
        self.0.borrow_mut().digest = Some(digest);
        Ok(digest)
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

impl Slot {
    fn write(&mut self, write: impl FnOnce(&Value) -> Result<()>) -> Result<()> {
        let alone = Rc::strong_count(&self.lease) == 1 && !self.lease.lent.get();
        if !alone || !self.value.parts().iter().all(|t| t.is_contiguous()) {
            self.value.check_copy()?;
            self.value = self.value.deep_copy()?;
            self.lease = Lease::of(&self.value);
        }
        self.version += 1;
        self.digest = None;
        write(&self.value)
    }
}

impl From<Tensor> for Handle {
    fn from(tensor: Tensor) -> Self {
        Self::fresh(Value::Real(tensor))
    }
}
