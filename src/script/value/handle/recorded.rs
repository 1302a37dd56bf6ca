//! Tensors with a graph of gradients: what a write to one makes of it.

use super::Handle;
use crate::kernel::differentiable::is_without_graph;
use crate::script::value::lease::Lease;
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
        (slot.digest, slot.journal) = (None, None);
        Ok(())
    }
}
