//! The tensor handle that scripts hold, and when a write may happen in place.
//!
//! `let b = a;` is the same tensor. A write must never show in the model or in a tensor derived
//! earlier, and `log[layer] = x` must cost the size of x. So storage made by a script's own
//! operation carries a lease, which every value that shares the storage holds: whoever is its only
//! holder writes in place, anyone else copies first. A tensor that came from the model, or was
//! handed to it, is never written in place.

use std::cell::{Cell, Ref, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use candle_core::Tensor;

pub mod mask;

use super::frozen::{Frozen, Journal, Write};
use crate::system::interrupt;
use crate::tensor::budget::Held;
use crate::tensor::index::pending_write::PendingWrite;
use crate::tensor::index::selection::Index;
use crate::tensor::index::subscript;
use crate::tensor::{Operand, Value};
use crate::{Error, Result};

#[derive(Clone)]
pub struct Handle(Rc<RefCell<Slot>>);

struct Slot {
    value: Value,
    lease: Rc<Lease>,
    /// Of token ids: which are real.
    mask: Option<Handle>,
    /// How often it was written to.
    version: u64,
    /// What was written since its value was last kept elsewhere.
    journal: Option<Journal>,
    /// Of what it holds now, once someone asked.
    digest: Option<[u8; 32]>,
    /// What is on its way into it from a GPU, in order. Whoever reads it waits.
    arriving: VecDeque<PendingWrite>,
    /// Why something never arrived: what is read of it is wrong.
    lost: Option<Error>,
    /// While it is the tensor that a hook was given: who parts it from what the hook has kept of
    /// it.
    keeper: Option<Rc<dyn Keeper>>,
}

/// Holds what a hook keeps beyond its call. Keeping is by value: a later write into the hook's
/// tensor must not show there.
pub trait Keeper {
    /// Puts another handle of the same value in the place of `given`, wherever that is kept.
    fn part(&self, given: &Handle);
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

    /// The tensor that a hook is given, for as long as it is not [released](Self::release).
    pub fn given(value: Value, keeper: Rc<dyn Keeper>) -> Self {
        let handle = Self::lent(value);
        handle.0.borrow_mut().keeper = Some(keeper);
        handle
    }

    /// Whether a hook that runs was given it.
    pub fn is_given(&self) -> bool {
        self.0.borrow().keeper.is_some()
    }

    /// The hook that it was given to has run.
    pub fn release(&self) {
        self.0.borrow_mut().keeper = None;
    }

    /// Another tensor of the same value. Neither is copied before one of them is written to.
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

    /// Before a write: what was kept of a hook's tensor stays as it is.
    fn part(&self) {
        /// The pass that gave it, and the hook's own variable.
        const HOLDERS: usize = 2;
        if Rc::strong_count(&self.0) > HOLDERS {
            let keeper = self.0.borrow().keeper.clone();
            if let Some(keeper) = keeper {
                keeper.part(self);
            }
        }
    }

    /// The result of an operation on `inputs`, without a mask yet: it shares their lease if it
    /// shares their storage.
    fn derived(value: Value, inputs: &[&Handle]) -> Self {
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
        Self(Rc::new(RefCell::new(Slot {
            value,
            lease,
            mask: None,
            version: 0,
            journal,
            digest: None,
            arriving: VecDeque::new(),
            // What is made of something that did not arrive is no better.
            lost: interrupt::check_failed().err(),
            keeper: None,
        })))
    }

    pub fn value(&self) -> Ref<'_, Value> {
        self.wait();
        Ref::map(self.0.borrow(), |slot| &slot.value)
    }

    /// Whether it is on another device than `other`: then what is on its way to either need not be
    /// waited for.
    pub fn is_apart_from(&self, other: &Handle) -> bool {
        !self.0.borrow().value.device().same_device(other.0.borrow().value.device())
    }

    /// Lands what is on its way. A script must not go on with what did not arrive: its run ends at
    /// its next step, and nothing that it would print or save from here on leaves it.
    fn wait(&self) {
        let waits = {
            let slot = self.0.borrow();
            !slot.arriving.is_empty() || slot.lost.is_some()
        };
        if waits && let Err(error) = self.0.borrow_mut().land(0) {
            interrupt::fail(&error);
        }
    }

    /// Hands the value to someone who keeps it: from now on a write through this handle, or through
    /// one that shares its storage, copies first.
    pub fn lend(&self) -> Value {
        self.wait();
        let slot = self.0.borrow();
        slot.lease.lent.set(true);
        slot.value.clone()
    }

    /// Writes through `write`, which gets contiguous tensors in storage that nothing else holds.
    pub fn write(&self, write: impl FnOnce(&Value) -> Result<()>) -> Result<()> {
        self.part();
        let mut slot = self.0.borrow_mut();
        slot.land(0)?;
        slot.journal = None;
        slot.write(write)
    }

    /// Writes `source` into the part that `indexes` select.
    pub fn assign(&self, indexes: &[Index], source: Operand) -> Result<()> {
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

    /// Whether what is written is noted, so that a source must not change afterwards.
    pub fn is_journalled(&self) -> bool {
        self.0.borrow().journal.is_some()
    }

    /// How often it was written to.
    pub fn version(&self) -> u64 {
        self.0.borrow().version
    }

    /// The value as it is now, kept so that writes to this handle do not show in it. What is kept
    /// of a tensor that is written part by part is the parts.
    pub fn freeze(&self) -> Frozen {
        // What is noted of the writes holds what is on its way too.
        if !self.is_journalled() {
            self.wait();
        }
        let mut slot = self.0.borrow_mut();
        let slot = &mut *slot;
        slot.journal
            .get_or_insert_with(|| Journal::new(slot.value.clone(), slot.lease.clone()))
            .freeze()
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
        slot.arriving.clear();
        slot.lost = None;
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

    /// Whether both are handles of the same tensor.
    pub fn same(&self, other: &Handle) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Slot {
    /// Lands what is on its way, but for the last `but`.
    ///
    /// # Errors
    /// Something did not arrive, now or before.
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
        /// Their pinned memory is held until they land.
        const MOST: usize = 3;
        self.write(|_| Ok(()))?;
        self.arriving.push_back(arrival);
        self.land(MOST)
    }

    fn write(&mut self, write: impl FnOnce(&Value) -> Result<()>) -> Result<()> {
        let alone = Rc::strong_count(&self.lease) == 1 && !self.lease.lent.get();
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

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use rhai::Dynamic;

    use super::*;
    use crate::bail;
    use crate::script::{Host, Settings};

    /// A handle of zeros [4, 2], and a count of what has landed in it; each assignment is on its
    /// way until someone waits.
    fn awaiting(rows: &[i64]) -> (Handle, Rc<Cell<usize>>) {
        let handle = Handle::from(Tensor::zeros((4, 2), DType::F32, &Device::Cpu).unwrap());
        let landed = Rc::new(Cell::new(0));
        for &row in rows {
            let count = landed.clone();
            let part: Box<dyn FnOnce() -> Result<Tensor>> = Box::new(move || {
                count.set(count.get() + 1);
                Ok((Tensor::ones(2, DType::F32, &Device::Cpu)? * row as f64)?)
            });
            let mut slot = handle.0.borrow_mut();
            let arrival = PendingWrite::new(&slot.value, &[Index::At(row)], vec![part]).unwrap();
            slot.await_arrival(arrival).unwrap();
        }
        (handle, landed)
    }

    fn sum(value: &Value) -> f32 {
        value.parts()[0].sum_all().unwrap().to_scalar().unwrap()
    }

    #[test]
    fn what_is_on_its_way_is_waited_for_by_whoever_reads() {
        let (handle, landed) = awaiting(&[1, 3]);
        assert_eq!(landed.get(), 0);
        assert_eq!((sum(&handle.value()), landed.get()), (8.0, 2));
        let (handle, landed) = awaiting(&[2]);
        assert_eq!((sum(&handle.lend()), landed.get()), (4.0, 1));
        let (handle, landed) = awaiting(&[2]);
        let frozen = handle.freeze();
        assert_eq!((sum(&Handle::thawed(&frozen).unwrap().value()), landed.get()), (4.0, 1));
    }

    #[test]
    fn writes_land_in_their_order_and_few_are_on_their_way_at_a_time() {
        let (handle, landed) = awaiting(&[1, 1, 1, 1, 1]);
        assert_eq!(landed.get(), 2);
        handle.assign(&[Index::At(1)], Operand::from(7.0)).unwrap();
        assert_eq!((sum(&handle.value()), landed.get()), (14.0, 5));
    }

    #[test]
    fn what_did_not_arrive_ends_the_run_and_nothing_made_of_it_leaves() {
        let lost = || {
            // As a run does when it begins: what is made after a failure is as lost as what failed.
            interrupt::clear();
            let (handle, _) = awaiting(&[1]);
            let gone: Box<dyn FnOnce() -> Result<Tensor>> =
                Box::new(|| bail!("the driver is gone"));
            let arrival =
                PendingWrite::new(&handle.0.borrow().value, &[Index::At(2)], vec![gone]).unwrap();
            handle.0.borrow_mut().await_arrival(arrival).unwrap();
            handle
        };
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("out");
        let host = Host::new(Settings { out: Some(out.clone()), ..Settings::default() }).unwrap();
        for script in [
            "save(\"t\", t)",
            "try { save(\"t.json\", t); } catch {} 1",
            "t.sum().item()",
            "t.shape",
            "try { let n = t.sum().item(); print(n); } catch {} 1",
            "let u = t + 1; t[2] = 0.0; u",
            "t[2] = 0.0; t",
            "for row in t {} 1",
            "plot(#{y: t[0], name: \"p\"})",
        ] {
            let failure = host.ask(script, [("t", Dynamic::from(lost()))]).unwrap_err();
            let said = "a copy on its way from the GPU did not arrive: the driver is gone";
            assert!(failure.message().ends_with(said), "{script} {failure}");
        }
        assert_eq!(std::fs::read_dir(&out).map_or(0, Iterator::count), 0);
        // What did not arrive is not there in the next piece either; all else goes on.
        let handle = lost();
        assert!(host.ask("t + 1", [("t", Dynamic::from(handle.clone()))]).is_err());
        assert!(host.ask("t.item()", [("t", Dynamic::from(handle))]).is_err());
        assert_eq!(host.eval("1 + 1").unwrap().as_int(), Ok(2));
    }

    #[test]
    fn what_was_read_before_does_not_change() {
        let (handle, _) = awaiting(&[1]);
        let before = handle.lend();
        let arrival = PendingWrite::new(
            &handle.0.borrow().value,
            &[Index::At(0)],
            vec![Box::new(|| Ok(Tensor::ones(2, DType::F32, &Device::Cpu)?))],
        );
        handle.0.borrow_mut().await_arrival(arrival.unwrap()).unwrap();
        assert_eq!((sum(&handle.value()), sum(&before)), (4.0, 2.0));
    }
}
