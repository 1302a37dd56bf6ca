//! A tensor's value kept as it stood at some moment, at the cost of what was written to it: a log
//! that a hook fills layer by layer is kept once, and then by what each layer wrote.

use std::rc::Rc;

use super::handle::Lease;
use crate::Result;
use crate::tensor::index::selection::Index;
use crate::tensor::index::subscript;
use crate::tensor::{Number, Operand, Value};

/// After so many writes the whole is copied.
const MOST_WRITES: usize = 4096;

/// A value as it stood. A clone is the same one.
#[derive(Clone)]
pub struct Frozen {
    base: Rc<Base>,
    writes: Vec<Rc<Write>>,
}

/// A value that is not written to any more, because its lease is held here.
struct Base {
    value: Value,
    lease: Rc<Lease>,
}

/// What was written to a tensor since its value was kept.
pub struct Journal {
    kept: Frozen,
    /// Elements written so far.
    written: usize,
}

/// One write: where, and what.
pub struct Write {
    indexes: Vec<Index>,
    source: Source,
}

enum Source {
    Tensor(Value),
    Number(Number),
}

impl Write {
    /// The source must not be written to afterwards.
    pub fn new(indexes: &[Index], source: &Operand) -> Result<Self> {
        let source = match source {
            Operand::Tensor(value) => Source::Tensor((*value).clone()),
            Operand::Number(number) => Source::Number(*number),
        };
        let own = |index: &Index| match index {
            // The script may write into its ids.
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
                Source::Tensor(value) => Operand::Tensor(value),
                Source::Number(number) => Operand::Number(*number),
            },
        )
    }

    fn value(&self) -> Option<&Value> {
        match &self.source {
            Source::Tensor(value) => Some(value),
            Source::Number(_) => None,
        }
    }
}

impl Journal {
    pub fn new(value: Value, lease: Rc<Lease>) -> Self {
        Frozen::of(&value, &lease).journal()
    }

    pub fn push(&mut self, write: Write) {
        self.written += write.value().map_or(1, Value::numel);
        self.kept.writes.push(Rc::new(write));
    }

    /// Whether a copy of the whole would be the cheaper way.
    pub fn is_long(&self) -> bool {
        self.kept.writes.len() > MOST_WRITES || self.written > 2 * self.kept.base.value.numel()
    }

    pub fn freeze(&self) -> Frozen {
        self.kept.clone()
    }
}

impl Frozen {
    pub fn of(value: &Value, lease: &Rc<Lease>) -> Self {
        Self {
            base: Rc::new(Base { value: value.clone(), lease: lease.clone() }),
            writes: Vec::new(),
        }
    }

    /// The value as it stood, and the lease of its storage.
    ///
    /// # Errors
    /// There is no memory for it on its device.
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

    /// From here on, what is written after it.
    pub fn journal(&self) -> Journal {
        Journal {
            written: self.writes.iter().map(|write| write.value().map_or(1, Value::numel)).sum(),
            kept: self.clone(),
        }
    }

    /// Every value that is held for it.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        std::iter::once(&self.base.value)
            .chain(self.writes.iter().filter_map(|write| write.value()))
    }
}
