//! The states that the passes of one session store for later ones, and the report on their use.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;

use super::report::{LastPass, Report};
use super::store::{BoundaryState, Store};
use crate::script::fingerprint::hasher::Digest;
use crate::tensor::budget;

/// How many bytes are held at most unless the command line says otherwise.
pub const DEFAULT_LIMIT: u64 = 1 << 30;

/// What the passes of a session may reuse. A clone is the same one.
#[derive(Clone)]
pub struct Reuse(Rc<Shared>);

struct Shared {
    /// In bytes.
    limit: u64,
    store: RefCell<Store>,
    report: RefCell<Report>,
    /// Whether the next pass starts a new report.
    report_is_over: Cell<bool>,
}

impl Reuse {
    /// Holds `limit` bytes at most; with 0 nothing is reused. When the tensors' memory budget runs
    /// out, everything held is released.
    pub fn new(limit: u64) -> Self {
        let shared = Rc::new(Shared {
            limit,
            store: RefCell::default(),
            report: RefCell::default(),
            report_is_over: Cell::new(false),
        });
        let spare = Rc::downgrade(&shared);
        budget::set_spare(move || {
            if let Some(shared) = spare.upgrade()
                && let Ok(mut store) = shared.store.try_borrow_mut()
            {
                store.clear();
            }
        });
        Self(shared)
    }

    /// Bytes held now.
    pub fn bytes(&self) -> u64 {
        self.0.store.borrow().bytes()
    }

    /// Makes the next pass start a new report. The stored states stay.
    pub fn begin(&self) {
        self.0.report_is_over.set(true);
    }

    /// The report on the passes so far.
    pub fn report(&self) -> Report {
        self.0.report.borrow().clone()
    }

    /// Whether nothing is stored.
    pub(super) fn is_off(&self) -> bool {
        self.0.limit == 0
    }

    /// The stored states.
    pub(super) fn store(&self) -> RefMut<'_, Store> {
        self.0.store.borrow_mut()
    }

    /// Stores a state, within the limit.
    pub(super) fn insert(&self, key: Digest, entry: BoundaryState) {
        self.store().insert(key, entry, self.0.limit);
    }

    /// Adds a pass to the report.
    pub(super) fn note(&self, last: LastPass) {
        let mut report = self.0.report.borrow_mut();
        if self.0.report_is_over.take() {
            *report = Report::default();
        }
        report.add(last);
    }
}
