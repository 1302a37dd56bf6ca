//! Who shares a storage: the basis for deciding whether a write may happen in place.

use std::cell::Cell;
use std::rc::Rc;

use crate::tensor::Value;
use crate::tensor::budget::Held;

/// A token held by every value that shares one storage.
pub struct Lease {
    /// Whether the storage is held outside the script too, by the model for example.
    lent: Cell<bool>,
    /// The storage's share of the script's memory budget.
    _held: Held,
}

impl Lease {
    /// A lease on the storage of `value`.
    pub fn of(value: &Value) -> Rc<Self> {
        Rc::new(Self { lent: Cell::new(false), _held: Held::new(value.bytes()) })
    }

    /// Notes that the storage is held outside the script from now on.
    pub fn lend(&self) {
        self.lent.set(true);
    }

    /// Whether the storage is held outside the script.
    pub fn is_lent(&self) -> bool {
        self.lent.get()
    }
}
