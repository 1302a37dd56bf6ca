//! The random number generator of a run. It is seeded by `--seed` or `seed(n)`, and the seed is
//! recorded in run.json.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::{Result, error};

/// Converts a seed that a script gives.
///
/// # Errors
/// A negative number.
pub fn seed(n: i64) -> Result<u64> {
    u64::try_from(n).map_err(|_| error!("a seed is 0 or more, not {n}"))
}

/// The random number generator. A clone is the same one.
#[derive(Clone)]
pub struct Random(Rc<RandomState>);

struct RandomState {
    first: u64,
    seed: Cell<u64>,
    rng: RefCell<StdRng>,
}

impl Random {
    /// Seeded with `seed`, or else with a seed from the operating system.
    pub fn new(seed: Option<u64>) -> Self {
        // 53 bits, so that a JSON number holds the seed exactly.
        let seed = seed.unwrap_or_else(|| rand::rng().random::<u64>() >> 11);
        let rng = RefCell::new(StdRng::seed_from_u64(seed));
        Self(Rc::new(RandomState { first: seed, seed: Cell::new(seed), rng }))
    }

    /// Restarts the sequence with `seed`.
    pub fn reseed(&self, seed: u64) {
        self.0.seed.set(seed);
        *self.0.rng.borrow_mut() = StdRng::seed_from_u64(seed);
    }

    /// Restarts the sequence with the first seed, before a run.
    pub fn restart(&self) {
        self.reseed(self.0.first);
    }

    /// The seed with which every run starts.
    pub fn first(&self) -> u64 {
        self.0.first
    }

    /// The seed of the current sequence.
    pub fn seed(&self) -> u64 {
        self.0.seed.get()
    }

    /// Draws a seed for another generator.
    pub fn next(&self) -> u64 {
        self.rng().random()
    }

    /// The generator itself.
    pub fn rng(&self) -> RefMut<'_, StdRng> {
        self.0.rng.borrow_mut()
    }
}
