//! The stored states of passes, by key: a cache that evicts the entries unused for longest.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use candle_core::Tensor;

use super::saved_context::SavedContext;
use crate::hook::Site;
use crate::script::fingerprint::hasher::Digest;
use crate::tensor::Value;

/// The state at one boundary.
#[derive(Clone)]
pub struct BoundaryState {
    /// The residual stream, [b, n, d].
    pub stream: Tensor,
    /// The context's entries, if a hook has run before the boundary.
    pub context: Option<Rc<SavedContext>>,
    /// The tensors observed since the boundary before.
    pub captured: BTreeMap<Site, Tensor>,
}

impl BoundaryState {
    fn values(&self) -> Vec<Value> {
        let tensors = std::iter::once(&self.stream)
            .chain(self.captured.values())
            .map(|t| Value::Real(t.clone()));
        tensors.chain(self.context.iter().flat_map(|saved| saved.values())).collect()
    }
}

/// A cache of states, limited by the bytes of the tensors that it holds. A tensor that several
/// entries share counts once.
#[derive(Default)]
pub struct Store {
    entries: HashMap<Digest, (u64, BoundaryState)>,
    /// The keys by the time of last use.
    order: BTreeMap<u64, Digest>,
    clock: u64,
    /// For each tensor storage, by its address: how many entries hold it, and its bytes.
    held: HashMap<usize, (usize, u64)>,
    bytes: u64,
}

impl Store {
    /// The bytes held now.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The entry of a key, without counting as a use.
    pub fn get(&self, key: &Digest) -> Option<&BoundaryState> {
        self.entries.get(key).map(|(_, entry)| entry)
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Marks an entry as used now.
    pub fn touch(&mut self, key: &Digest) {
        self.clock += 1;
        if let Some((used, _)) = self.entries.get_mut(key) {
            self.order.remove(used);
            *used = self.clock;
            self.order.insert(self.clock, *key);
        }
    }

    /// Adds an entry, then evicts the entries unused for longest until at most `limit` bytes are
    /// held. If the key has an entry, its captured tensors are kept in the new one.
    pub fn insert(&mut self, key: Digest, mut entry: BoundaryState, limit: u64) {
        if let Some(old) = self.remove(&key) {
            for (site, tensor) in old.captured {
                entry.captured.entry(site).or_insert(tensor);
            }
        }
        for (address, bytes) in storages(&entry) {
            let held = self.held.entry(address).or_insert((0, bytes));
            held.0 += 1;
            if held.0 == 1 {
                self.bytes += bytes;
            }
        }
        self.clock += 1;
        self.order.insert(self.clock, key);
        self.entries.insert(key, (self.clock, entry));
        while self.bytes > limit
            && let Some((_, oldest)) = self.order.first_key_value()
        {
            let oldest = *oldest;
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &Digest) -> Option<BoundaryState> {
        let (used, entry) = self.entries.remove(key)?;
        self.order.remove(&used);
        for (address, _) in storages(&entry) {
            if let Some(held) = self.held.get_mut(&address) {
                held.0 -= 1;
                if held.0 == 0 {
                    self.bytes -= held.1;
                    self.held.remove(&address);
                }
            }
        }
        Some(entry)
    }
}

/// The address and size in bytes of every tensor storage that an entry holds.
fn storages(entry: &BoundaryState) -> Vec<(usize, u64)> {
    let sizes = entry.values().into_iter().flat_map(|value| {
        let bytes = value
            .parts()
            .iter()
            .map(|t| (t.elem_count() * t.dtype().size_in_bytes()) as u64)
            .collect::<Vec<_>>();
        value.addresses().into_iter().zip(bytes).collect::<Vec<_>>()
    });
    let mut storages: Vec<(usize, u64)> = sizes.collect();
    storages.sort_unstable();
    // Several values may share one storage, which must be counted once when added and once when
    // removed.
    storages.dedup_by_key(|(address, _)| *address);
    storages
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    fn entry(floats: usize) -> BoundaryState {
        let stream = Tensor::zeros(floats, DType::F32, &Device::Cpu).unwrap();
        BoundaryState { stream, context: None, captured: BTreeMap::new() }
    }

    #[test]
    fn what_was_of_no_use_for_the_longest_goes_first() {
        let mut store = Store::default();
        for key in 0..4u8 {
            store.insert([key; 32], entry(100), 1200);
        }
        assert_eq!(store.bytes(), 1200);
        assert!(store.get(&[0; 32]).is_none());
        store.touch(&[1; 32]);
        store.insert([9; 32], entry(100), 1200);
        assert!(store.get(&[1; 32]).is_some() && store.get(&[2; 32]).is_none());
        store.insert([8; 32], entry(1000), 1200);
        assert!(store.get(&[8; 32]).is_none(), "larger than all that may be held");
        assert_eq!(store.bytes(), 0);
    }

    #[test]
    fn what_entries_share_counts_once() {
        let mut store = Store::default();
        let shared = entry(100);
        store.insert([1; 32], shared.clone(), 1200);
        store.insert([2; 32], shared.clone(), 1200);
        assert_eq!(store.bytes(), 400);
        store.insert([2; 32], shared, 1200);
        assert_eq!(store.bytes(), 400);
    }
}
