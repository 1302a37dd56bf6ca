//! A permutation of a store's rows that takes no memory: each place is computed when it is asked
//! for.
//!
//! It is a Feistel network over the smallest even number of bits that holds all places, walked
//! until it comes to a place that exists (Black and Rogaway, "Ciphers with arbitrary finite
//! domains", 2002). With six rounds of SplitMix64 it looks random to a training run; it is no
//! cipher.

/// How often the halves are mixed.
const ROUNDS: u64 = 6;

/// A permutation of 0..length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shuffle {
    seed: u64,
    length: u64,
    /// The bits of half a place.
    half: u32,
}

impl Shuffle {
    /// The permutation of `0..length` that belongs to a seed.
    pub fn new(seed: u64, length: u64) -> Self {
        let bits = u64::BITS - length.saturating_sub(1).leading_zeros();
        Self { seed, length, half: bits.div_ceil(2).max(1) }
    }

    /// What stands at `place`, which is below the length.
    pub fn at(&self, place: u64) -> u64 {
        let mut at = place;
        loop {
            at = self.mix(at);
            // The network permutes up to four times as many places: some walk on.
            if at < self.length {
                return at;
            }
        }
    }

    fn mix(&self, place: u64) -> u64 {
        let mask = (1u64 << self.half) - 1;
        let (mut left, mut right) = (place >> self.half, place & mask);
        for round in 0..ROUNDS {
            let key = split_mix(self.seed ^ split_mix(round));
            (left, right) = (right, left ^ (split_mix(right ^ key) & mask));
        }
        (left << self.half) | right
    }
}

/// SplitMix64's mixing function (Steele, Lea and Flood, 2014).
fn split_mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_comes_once() {
        for length in [1, 2, 3, 4, 5, 16, 17, 1000, 4097] {
            for seed in 0..4 {
                let shuffle = Shuffle::new(seed, length);
                let mut places: Vec<u64> = (0..length).map(|place| shuffle.at(place)).collect();
                places.sort_unstable();
                assert!(places.into_iter().eq(0..length), "{length} {seed}");
            }
        }
        assert!(Shuffle::new(0, u64::MAX).at(7) < u64::MAX);
    }

    #[test]
    fn the_order_is_without_a_pattern() {
        const LENGTH: u64 = 10_000;
        let at = |seed: u64| {
            (0..LENGTH).map(|place| Shuffle::new(seed, LENGTH).at(place)).collect::<Vec<_>>()
        };
        let (one, two) = (at(1), at(2));
        let same = one.iter().zip(&two).filter(|(a, b)| a == b).count();
        assert!(same < 20, "{same}");
        // Neighbours have no more to do with each other than any two: the mean distance of two
        // random places is a third of the length.
        let distance: u64 = one.windows(2).map(|pair| pair[0].abs_diff(pair[1])).sum();
        let mean = distance / (LENGTH - 1);
        assert!(mean.abs_diff(LENGTH / 3) < LENGTH / 30, "{mean}");
    }
}
