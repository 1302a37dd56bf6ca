//! Which items of a sequence are meant, without the sequence: `.skip(n)`, `.take(n)` and
//! `.shard(i, n)`, in any order.

/// The items at `start`, `start + step`, … of a sequence, and at most `count` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    start: u64,
    step: u64,
    /// `u64::MAX` stands for all that there are.
    count: u64,
}

impl Selection {
    /// Every item.
    pub const ALL: Self = Self { start: 0, step: 1, count: u64::MAX };

    /// These without the first `n`.
    pub fn skip(self, n: u64) -> Self {
        let count = match self.count {
            u64::MAX => u64::MAX,
            count => count.saturating_sub(n),
        };
        Self { start: self.start.saturating_add(n.saturating_mul(self.step)), count, ..self }
    }

    /// The first `n` of these.
    pub fn take(self, n: u64) -> Self {
        Self { count: self.count.min(n), ..self }
    }

    /// The share `i` of `n` shares: of these every n-th, from the i-th on. The shares of all `i`
    /// below `n` are all of these, each once.
    pub fn shard(self, i: u64, n: u64) -> Self {
        let shard = self.skip(i);
        let count = match shard.count {
            u64::MAX => u64::MAX,
            count => count.div_ceil(n),
        };
        Self { step: shard.step.saturating_mul(n), count, ..shard }
    }

    /// How many items are selected of a sequence of `length`.
    pub fn len(&self, length: u64) -> u64 {
        self.count.min(length.saturating_sub(self.start).div_ceil(self.step))
    }

    /// The place in the sequence of the k-th selected item; nothing if fewer are selected.
    pub fn place(&self, k: u64) -> Option<u64> {
        if k >= self.count {
            return None;
        }
        self.start.checked_add(k.checked_mul(self.step)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Skip(u64),
        Take(u64),
        Shard(u64, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let shard = (1u64..5).prop_flat_map(|n| (0..n).prop_map(move |i| Step::Shard(i, n)));
        prop_oneof![(0u64..9).prop_map(Step::Skip), (0u64..40).prop_map(Step::Take), shard]
    }

    proptest! {
        #[test]
        fn a_selection_is_what_iterators_give(steps in prop::collection::vec(step(), 0..6), length in 0u64..60) {
            let mut items: Vec<u64> = (0..length).collect();
            let mut selection = Selection::ALL;
            for step in steps {
                (selection, items) = match step {
                    Step::Skip(n) => (selection.skip(n), items.into_iter().skip(n as usize).collect()),
                    Step::Take(n) => (selection.take(n), items.into_iter().take(n as usize).collect()),
                    Step::Shard(i, n) => {
                        let mine = items.into_iter().skip(i as usize).step_by(n as usize);
                        (selection.shard(i, n), mine.collect())
                    }
                };
            }
            prop_assert_eq!(selection.len(length), items.len() as u64);
            let places = (0..).map_while(|k| selection.place(k)).take_while(|place| *place < length);
            prop_assert_eq!(places.take(items.len() + 1).collect::<Vec<_>>(), items);
        }
    }

    #[test]
    fn what_reaches_beyond_any_sequence_selects_nothing() {
        let far = Selection::ALL.skip(u64::MAX).shard(1, 2);
        assert_eq!((far.len(100), far.place(1)), (0, None));
    }
}
