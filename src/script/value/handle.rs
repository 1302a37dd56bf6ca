//! The handle by which scripts hold a tensor, and the rules for writing in place.
//!
//! `let b = a;` makes a second handle to the same tensor. A write must never show in the model or
//! in a tensor that was derived earlier, and `log[layer] = x` must cost only the size of x.
//! Therefore all values that share storage hold the same lease: a handle that is the only holder
//! writes in place, any other copies first. A tensor that came from the model, or was passed to it,
//! is never written in place.

use std::cell::{Ref, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use candle_core::Tensor;

pub mod mask;
mod recorded;
#[cfg(test)]
mod tests;

use super::frozen::{Frozen, Journal, Write};
use super::lease::Lease;
use crate::kernel::differentiable::is_without_graph;
use crate::system::interrupt;
use crate::tensor::index::pending_write::PendingWrite;
use crate::tensor::index::selection::Index;
use crate::tensor::index::subscript;
use crate::tensor::{Operand, Value};
use crate::{Error, Result};

/// A tensor of a script. A clone is the same tensor.
#[derive(Clone)]
pub struct Handle(Rc<RefCell<Slot>>);

struct Slot {
    value: Value,
    lease: Rc<Lease>,
    /// For token ids: which of them are real, not padding.
    mask: Option<Handle>,
    /// The number of writes so far.
    version: u64,
    /// The writes since the last snapshot, if one was taken.
    journal: Option<Journal>,
    /// A digest of the value, if it was computed and nothing was written since.
    digest: Option<[u8; 32]>,
    /// Copies from a GPU that are still in progress, in order. Readers wait for them.
    arriving: VecDeque<PendingWrite>,
    /// The error of a copy from a GPU that failed: the value is wrong.
    lost: Option<Error>,
    /// Set while this is the tensor that a running hook was given.
    keeper: Option<Rc<dyn Keeper>>,
    /// How many operations of the script lead to it in a graph of gradients.
    depth: usize,
    /// The tensor that it is a part of, if both have a graph.
    part_of: Option<recorded::PartOf>,
}

/// Holds tensors that a hook keeps after its call. They must not change when the hook later writes
/// to the tensor that it was given.
pub trait Keeper {
    /// Replaces `given`, wherever the hook keeps it, with another handle to the same value.
    fn part(&self, given: &Handle);
}

impl Handle {
    /// A value in storage that nothing else holds.
    pub fn fresh(value: Value) -> Self {
        let lease = Lease::of(&value);
        Self::leased(value, lease, None)
    }

    /// A value whose storage is held outside the script: a tensor in a pass, a weight.
    pub fn lent(value: impl Into<Value>) -> Self {
        let handle = Self::fresh(value.into());
        handle.0.borrow().lease.lend();
        handle
    }

    /// The tensor that a hook is called with, until it is [released](Self::release).
    pub fn given(value: Value, keeper: Rc<dyn Keeper>) -> Self {
        let handle = Self::lent(value);
        handle.0.borrow_mut().keeper = Some(keeper);
        handle
    }

    /// Whether it is the tensor of a running hook.
    pub fn is_given(&self) -> bool {
        self.0.borrow().keeper.is_some()
    }

    /// Ends the call of the hook that the tensor was given to.
    pub fn release(&self) {
        self.0.borrow_mut().keeper = None;
    }

    /// A separate tensor with the same value. The first write to either copies the storage.
    pub fn twin(&self) -> Self {
        self.wait();
        let slot = self.0.borrow();
        let twin = Self::leased(slot.value.clone(), slot.lease.clone(), None);
        drop(slot);
        match self.mask() {
            Some(mask) => twin.with_mask(mask.twin()),
            None => twin,
        }
    }

    /// Called before a write: separates this tensor from what the hook has kept of it.
    fn part(&self) {
        /// The observer that called the hook, and the hook's own variable.
        const HOLDERS: usize = 2;
        if Rc::strong_count(&self.0) > HOLDERS {
            let keeper = self.0.borrow().keeper.clone();
            if let Some(keeper) = keeper {
                keeper.part(self);
            }
        }
    }

    fn leased(value: Value, lease: Rc<Lease>, journal: Option<Journal>) -> Self {
        let leaves = is_without_graph() && !value.has_variable();
        let value = if leaves { value.detach() } else { value };
        // The graph holds the storage too: derivatives are computed from it.
        if value.is_tracked() {
            lease.lend();
        }
        Self(Rc::new(RefCell::new(Slot {
            value,
            lease,
            mask: None,
            version: 0,
            journal,
            digest: None,
            arriving: VecDeque::new(),
            // A tensor computed after a copy failed may be computed from it.
            lost: interrupt::check_failed().err(),
            keeper: None,
            depth: 0,
            part_of: None,
        })))
    }

    /// The value, once all copies into it have finished.
    pub fn value(&self) -> Ref<'_, Value> {
        self.wait();
        Ref::map(self.0.borrow(), |slot| &slot.value)
    }

    /// Whether the two are on different devices. A copy between devices need not wait for copies in
    /// progress.
    pub fn is_apart_from(&self, other: &Handle) -> bool {
        !self.0.borrow().value.device().same_device(other.0.borrow().value.device())
    }

    /// Waits for copies in progress. If one fails, the run ends at its next step, and nothing that
    /// the script prints or saves from then on leaves the process.
    fn wait(&self) {
        let waits = {
            let slot = self.0.borrow();
            !slot.arriving.is_empty() || slot.lost.is_some()
        };
        if waits && let Err(error) = self.0.borrow_mut().land(0) {
            interrupt::fail(&error);
        }
    }

    /// The value, for a holder outside the script. From now on writes through this handle, or
    /// another that shares its storage, copy first.
    pub fn lend(&self) -> Value {
        self.wait();
        let slot = self.0.borrow();
        slot.lease.lend();
        slot.value.clone()
    }

    /// The value, for a holder outside the script that must not see any later write, not even that
    /// of an optimiser into a variable: what shares its storage with another tensor is copied. A
    /// tracked tensor is given as it is.
    ///
    /// # Errors
    /// Out of memory for a copy.
    pub fn settle(&self) -> Result<Value> {
        self.wait();
        let tracked = self.0.borrow().value.parts().iter().any(|part| part.track_op());
        let shared = Rc::strong_count(&self.0.borrow().lease) > 1;
        if shared && !tracked {
            let slot = self.0.borrow();
            slot.value.check_copy()?;
            return slot.value.deep_copy();
        }
        Ok(self.lend())
    }

    /// Calls `write` with contiguous tensors in storage that nothing else holds.
    ///
    /// # Errors
    /// Those of `write`; out of memory for a copy.
    pub fn write(&self, write: impl FnOnce(&Value) -> Result<()>) -> Result<()> {
        self.part();
        let mut slot = self.0.borrow_mut();
        slot.land(0)?;
        slot.journal = None;
        slot.write(write)
    }

    /// Writes `source` into the part that `indexes` select. If one of the two has a graph of
    /// gradients, the handle gets a new value, of which both have their gradients.
    ///
    /// # Errors
    /// The indexes or the source do not fit; out of memory; the tensor is a variable.
    pub fn assign(&self, indexes: &[Index], source: Operand) -> Result<()> {
        if self.is_recorded_with(source) {
            return self.rewrite(|target| subscript::put(target, indexes, source));
        }
        self.part();
        let mut slot = self.0.borrow_mut();
        match PendingWrite::start(&slot.value, indexes, source)? {
            Some(arrival) => slot.await_arrival(arrival)?,
            None => {
                slot.land(0)?;
                slot.write(|target| subscript::set(target, indexes, source))?;
            }
        }
        if let Some(journal) = &mut slot.journal {
            journal.push(Write::new(indexes, &source)?);
            if journal.is_long() {
                slot.journal = None;
            }
        }
        Ok(())
    }

    /// Whether writes are recorded in a journal: a source must not be modified after it was
    /// assigned.
    pub fn is_journalled(&self) -> bool {
        self.0.borrow().journal.is_some()
    }

    /// The number of writes so far.
    pub fn version(&self) -> u64 {
        self.0.borrow().version
    }

    /// Notes that an optimiser has written into the variable that this is.
    pub fn was_moved(&self) {
        let mut slot = self.0.borrow_mut();
        slot.version += 1;
        slot.digest = None;
        slot.journal = None;
    }

    /// A snapshot of the value, unaffected by later writes to this handle.
    pub fn freeze(&self) -> Frozen {
        // The journal holds the sources of copies in progress too.
        if !self.is_journalled() {
            self.wait();
        }
        let mut slot = self.0.borrow_mut();
        let slot = &mut *slot;
        slot.journal
            .get_or_insert_with(|| Journal::new(slot.value.clone(), slot.lease.clone()))
            .freeze()
    }

    /// Stops recording writes.
    pub fn forget_writes(&self) {
        self.0.borrow_mut().journal = None;
    }

    /// A new tensor with the value of a snapshot.
    ///
    /// # Errors
    /// Out of memory on the value's device.
    pub fn thawed(frozen: &Frozen) -> Result<Self> {
        let (value, lease) = frozen.thaw()?;
        Ok(Self::leased(value, lease, Some(frozen.journal())))
    }

    /// Sets the value to that of a snapshot.
    ///
    /// # Errors
    /// As [`thawed`](Self::thawed).
    pub fn restore(&self, frozen: &Frozen) -> Result<()> {
        let (value, lease) = frozen.thaw()?;
        let mut slot = self.0.borrow_mut();
        (slot.value, slot.lease, slot.journal) = (value, lease, Some(frozen.journal()));
        slot.version += 1;
        slot.digest = None;
        slot.arriving.clear();
        slot.lost = None;
        Ok(())
    }

    /// The digest of the value, computed by `of` unless it is known.
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

    /// Whether both are handles to the same tensor.
    pub fn same(&self, other: &Handle) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Slot {
    /// Waits for the copies in progress, except the last `but`.
    ///
    /// # Errors
    /// A copy failed, now or before.
    fn land(&mut self, but: usize) -> Result<()> {
        while self.lost.is_none()
            && self.arriving.len() > but
            && let Some(arrival) = self.arriving.pop_front()
        {
            self.lost = arrival
                .finish(&self.value)
                .err()
                .map(|e| e.at("a copy on its way from the GPU did not arrive"));
        }
        self.lost.clone().map_or(Ok(()), Err)
    }

    fn await_arrival(&mut self, arrival: PendingWrite) -> Result<()> {
        /// Each copy in progress holds pinned host memory.
        const MOST: usize = 3;
        self.write(|_| Ok(()))?;
        self.arriving.push_back(arrival);
        self.land(MOST)
    }

    fn write(&mut self, write: impl FnOnce(&Value) -> Result<()>) -> Result<()> {
        let alone = Rc::strong_count(&self.lease) == 1 && !self.lease.is_lent();
        if !alone || !self.value.parts().iter().all(|t| t.is_contiguous()) {
            self.land(0)?;
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
