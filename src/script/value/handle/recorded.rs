//! Tensors with a graph of gradients: what an operation on one gives, and what a write makes of it.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use candle_core::Tensor;

use super::{Handle, Slot};
use crate::kernel::differentiable::is_without_graph;
use crate::script::value::lease::Lease;
use crate::tensor::index::selection::Index;
use crate::tensor::{Kind, Operand, Value};
use crate::{Result, error};

impl Handle {
    /// Whether it is a variable or was computed from one, so that gradients reach it.
    pub fn is_tracked(&self) -> bool {
        let slot = self.0.borrow();
        !Kind::of(&slot.value).is_exact() && slot.value.is_tracked()
    }

    /// Whether it holds numbers that have gradients: it is of a float or complex dtype, and there
    /// are some.
    pub fn could_be_tracked(&self) -> bool {
        let slot = self.0.borrow();
        !Kind::of(&slot.value).is_exact() && slot.value.numel() > 0
    }

    /// Takes the tensor out of the graph that it was computed in; a variable stays one.
    pub fn leave_graph(&self) {
        let mut slot = self.0.borrow_mut();
        if slot.value.is_tracked() && !slot.value.has_variable() {
            slot.value = slot.value.detach();
        }
    }

    /// The result of an operation on `inputs`, without a mask. It shares their lease if it shares
    /// their storage, unless that is a variable's: an optimiser writes it in place, so that the
    /// result needs storage of its own.
    ///
    /// # Errors
    /// There is no memory for a copy; the graph that it belongs to is too deep.
    pub(super) fn derived(value: Value, inputs: &[&Handle]) -> Result<Self> {
        // Bools and integers have no gradients, and their graph would only take memory.
        let recorded = !is_without_graph() && !Kind::of(&value).is_exact();
        let mut value = if recorded { value } else { value.detach() };
        let mut addresses = value.addresses();
        let is_shared_variable = |input: &&Handle| {
            let slot = input.0.borrow();
            slot.value.has_variable()
                && slot.value.addresses().iter().any(|a| addresses.contains(a))
        };
        if inputs.iter().any(is_shared_variable) {
            value = value.map(Tensor::force_contiguous)?;
            addresses = value.addresses();
        }
        let lease = inputs.iter().find_map(|input| {
            let slot = input.0.borrow();
            let shares = slot.value.addresses().iter().any(|a| addresses.contains(a));
            shares.then(|| slot.lease.clone())
        });
        let lease = lease.unwrap_or_else(|| Lease::of(&value));
        let result = Self::leased(value, lease, None);
        result.deepen(inputs)?;
        Ok(result)
    }

    /// As [`lend`](Self::lend), without the value.
    pub fn keep(&self) {
        self.0.borrow().lease.lend();
    }

    /// Whether a write of `source` is an operation in a graph of gradients.
    pub fn is_recorded_with(&self, source: Operand) -> bool {
        let from = matches!(source, Operand::Tensor(value) if value.is_tracked());
        self.is_tracked() || (from && !is_without_graph() && !Kind::of(&self.value()).is_exact())
    }

    /// Gives the handle the value that `write` makes of its value. Whoever else has that keeps it.
    ///
    /// # Errors
    /// Those of `write`; the tensor is a variable.
    pub fn rewrite(&self, write: impl FnOnce(&Value) -> Result<Value>) -> Result<()> {
        self.part();
        let mut slot = self.0.borrow_mut();
        slot.land(0)?;
        if slot.value.has_variable() {
            return Err(error!("a variable is not written to: its gradients belong to its value")
                .help("an optimiser moves it; x = x + 1 makes a new tensor; x.detach() can be written to"));
        }
        slot.value = write(&slot.value)?;
        slot.lease = Lease::of(&slot.value);
        slot.lease.lend();
        slot.version += 1;
        slot.depth += 1;
        (slot.digest, slot.journal) = (None, None);
        check_depth(slot.depth)
    }

    /// Notes that the tensor was computed from `inputs`: it is one operation deeper in a graph than
    /// the deepest of them.
    ///
    /// # Errors
    /// The graph is too deep to go back through.
    fn deepen(&self, inputs: &[&Handle]) -> Result<()> {
        if !self.is_tracked() {
            return Ok(());
        }
        let mut slot = self.0.borrow_mut();
        let computed = |input: &&&Handle| input.is_tracked() && !input.value().has_variable();
        for input in inputs.iter().filter(computed) {
            slot.depth = slot.depth.max(input.0.borrow().depth);
        }
        slot.depth += 1;
        check_depth(slot.depth)
    }

    /// The same tensor, which is the part of `whole` that `indexes` select.
    pub fn as_part(self, whole: &Handle, indexes: &[Index]) -> Self {
        if self.is_tracked() {
            let part_of = PartOf {
                whole: Rc::downgrade(&whole.0),
                version: whole.version(),
                indexes: indexes.to_vec(),
            };
            self.0.borrow_mut().part_of = Some(part_of);
        }
        self
    }

    /// Whether it is the part of `whole` that `indexes` select, unchanged. Rhai writes back what it
    /// read through a subscript: `t[0].exp()` ends with `t[0] = t[0]`, which must not be an operation
    /// in a graph.
    pub fn is_part(&self, whole: &Handle, indexes: &[Index]) -> bool {
        let slot = self.0.borrow();
        slot.version == 0
            && slot.part_of.as_ref().is_some_and(|of| {
                of.version == whole.version()
                    && std::ptr::eq(of.whole.as_ptr(), Rc::as_ptr(&whole.0))
                    && of.whole.strong_count() > 0
                    && of.indexes.len() == indexes.len()
                    && of.indexes.iter().zip(indexes).all(|(a, b)| a.same(b))
            })
    }
}

/// Where a part of a tensor was taken from.
pub(super) struct PartOf {
    whole: Weak<RefCell<Slot>>,
    /// How often the whole had been written to.
    version: u64,
    indexes: Vec<Index>,
}

/// How many operations of a script may follow one another in a graph. candle goes back through them
/// by recursion, and frees them so, on a stack that is not endless.
const DEEPEST: usize = 20_000;

fn check_depth(depth: usize) -> Result<()> {
    if depth <= DEEPEST {
        return Ok(());
    }
    Err(error!("{DEEPEST} operations on tensors followed one another, each to be differentiated")
        .help(
            "x.detach() begins anew in each round of a loop; no_grad(|| …) differentiates nothing",
        ))
}
