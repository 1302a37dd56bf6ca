//! The run's one source of random numbers: seeded by `--seed` or `seed(n)`, recorded in run.json
//! either way.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::{Result, error};

/// What a script gives as a seed.
///
/// # Errors
/// A negative number.
pub fn seed(n: i64) -> Result<u64> {
    u64::try_from(n).map_err(|_| error!("a seed is 0 or more, not {n}"))
}

#[derive(Clone)]
pub struct Random(Rc<Inner>);

struct Inner {
    first: u64,
    seed: Cell<u64>,
    rng: RefCell<StdRng>,
}

impl Random {
    /// Seeded with `seed`, or with one drawn from the operating system.
    pub fn new(seed: Option<u64>) -> Self {
        // 53 bits, so that the seed survives JSON.
        let seed = seed.unwrap_or_else(|| rand::rng().random::<u64>() >> 11);
        let rng = RefCell::new(StdRng::seed_from_u64(seed));
        Self(Rc::new(Inner { first: seed, seed: Cell::new(seed), rng }))
    }

    /// Starts the sequence that belongs to `seed`.
    pub fn reseed(&self, seed: u64) {
        self.0.seed.set(seed);
        *self.0.rng.borrow_mut() = StdRng::seed_from_u64(seed);
    }

    /// Starts anew with the first seed, before a run.
    pub fn restart(&self) {
        self.reseed(self.0.first);
    }

    /// The seed that every run begins with.
    pub fn first(&self) -> u64 {
        self.0.first
    }

    /// The seed in force.
    pub fn seed(&self) -> u64 {
        self.0.seed.get()
    }

    /// A seed for something that draws numbers of its own.
    pub fn next(&self) -> u64 {
        self.rng().random()
    }

    pub fn rng(&self) -> RefMut<'_, StdRng> {
        self.0.rng.borrow_mut()
    }
}
