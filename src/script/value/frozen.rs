//! Snapshots of tensors. A snapshot of a tensor that is written part by part, such as a log that a
//! hook fills layer by layer, shares one base copy with the snapshots before it and adds only what
//! was written since.

use std::rc::Rc;

use super::lease::Lease;
use crate::Result;
use crate::tensor::index::selection::Index;
use crate::tensor::index::subscript;
use crate::tensor::{Number, Operand, Value};

/// After so many writes the next snapshot copies the whole tensor.
const MOST_WRITES: usize = 4096;

/// A snapshot of a tensor's value. A clone is the same snapshot.
#[derive(Clone)]
pub struct Frozen {
    base: Rc<Base>,
    writes: Vec<Rc<Write>>,
}

/// A value in storage that nothing writes to, because a lease on it is held here.
struct Base {
    value: Value,
    lease: Rc<Lease>,
}

/// The writes to a tensor since its last snapshot.
pub struct Journal {
    kept: Frozen,
    /// The number of elements written so far.
    written: usize,
}

/// One write: the indexes, and the values written.
pub struct Write {
    indexes: Vec<Index>,
    source: WriteSource,
}

enum WriteSource {
    Tensor(Value),
    Number(Number),
}

impl Write {
    /// The caller must not write to the source afterwards.
    ///
    /// # Errors
    /// Out of memory for a copy of the indexes.
    pub fn new(indexes: &[Index], source: &Operand) -> Result<Self> {
        let source = match source {
            Operand::Tensor(value) => WriteSource::Tensor((*value).clone()),
            Operand::Number(number) => WriteSource::Number(*number),
        };
        let own = |index: &Index| match index {
            // The script may write to a tensor that it used as an index.
            Index::Pick(value) => value.deep_copy().map(Index::Pick),
            other => Ok(other.clone()),
        };
        Ok(Self { indexes: indexes.iter().map(own).collect::<Result<_>>()?, source })
    }

    fn apply(&self, target: &Value) -> Result<()> {
        subscript::set(
            target,
            &self.indexes,
            match &self.source {
                WriteSource::Tensor(value) => Operand::Tensor(value),
                WriteSource::Number(number) => Operand::Number(*number),
            },
        )
    }

    fn value(&self) -> Option<&Value> {
        match &self.source {
            WriteSource::Tensor(value) => Some(value),
            WriteSource::Number(_) => None,
        }
    }
}

impl Journal {
    /// A journal that starts from `value`.
    pub fn new(value: Value, lease: Rc<Lease>) -> Self {
        Frozen::of(&value, &lease).journal()
    }

    /// Adds a write.
    pub fn push(&mut self, write: Write) {
        self.written += write.value().map_or(1, Value::numel);
        self.kept.writes.push(Rc::new(write));
    }

    /// Whether copying the whole tensor would take less memory than the writes.
    pub fn is_long(&self) -> bool {
        self.kept.writes.len() > MOST_WRITES || self.written > 2 * self.kept.base.value.numel()
    }

    /// A snapshot of the value after these writes.
    pub fn freeze(&self) -> Frozen {
        self.kept.clone()
    }
}

impl Frozen {
    /// A snapshot of `value`, which keeps its storage from being written to.
    pub fn of(value: &Value, lease: &Rc<Lease>) -> Self {
        Self {
            base: Rc::new(Base { value: value.clone(), lease: lease.clone() }),
            writes: Vec::new(),
        }
    }

    /// The value, and the lease on its storage.
    ///
    /// # Errors
    /// Out of memory on the value's device.
    pub fn thaw(&self) -> Result<(Value, Rc<Lease>)> {
        if self.writes.is_empty() {
            return Ok((self.base.value.clone(), self.base.lease.clone()));
        }
        self.base.value.check_copy()?;
        let value = self.base.value.deep_copy()?;
        self.writes.iter().try_for_each(|write| write.apply(&value))?;
        let lease = Lease::of(&value);
        Ok((value, lease))
    }

    /// A journal that continues from this snapshot.
    pub fn journal(&self) -> Journal {
        Journal {
            written: self.writes.iter().map(|write| write.value().map_or(1, Value::numel)).sum(),
            kept: self.clone(),
        }
    }

    /// Every value that the snapshot holds, for counting its memory.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        std::iter::once(&self.base.value)
            .chain(self.writes.iter().filter_map(|write| write.value()))
    }
}
