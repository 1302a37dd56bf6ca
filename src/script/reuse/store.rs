//! What stood where a block begins, of passes that may be asked for again: as much as fits.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use candle_core::Tensor;

use super::saved_context::Saved;
use crate::hook::Site;
use crate::script::fingerprint::hasher::Digest;
use crate::tensor::Value;

/// What stood at one boundary.
#[derive(Clone)]
pub struct Entry {
    /// The residual stream, [b, n, d].
    pub stream: Tensor,
    /// The context, where a hook had run before.
    pub context: Option<Rc<Saved>>,
    /// What was captured since the boundary before.
    pub captured: BTreeMap<Site, Tensor>,
}

impl Entry {
    fn values(&self) -> Vec<Value> {
        let tensors = std::iter::once(&self.stream)
            .chain(self.captured.values())
            .map(|t| Value::Real(t.clone()));
        tensors.chain(self.context.iter().flat_map(|saved| saved.values())).collect()
    }
}

#[derive(Default)]
pub struct Store {
    entries: HashMap<Digest, (u64, Entry)>,
    /// The entries by when they were last of use.
    order: BTreeMap<u64, Digest>,
    clock: u64,
    /// Every storage held, how often, and its bytes.
    held: HashMap<usize, (usize, u64)>,
    bytes: u64,
}

impl Store {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn get(&self, key: &Digest) -> Option<&Entry> {
        self.entries.get(key).map(|(_, entry)| entry)
    }

    /// Lets go of everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Says that an entry was of use.
    pub fn touch(&mut self, key: &Digest) {
        self.clock += 1;
        if let Some((used, _)) = self.entries.get_mut(key) {
            self.order.remove(used);
            *used = self.clock;
            self.order.insert(self.clock, *key);
        }
    }

    /// Keeps an entry, and lets go of those that were of no use for the longest, until no more than
    /// `limit` bytes are held.
    pub fn insert(&mut self, key: Digest, mut entry: Entry, limit: u64) {
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

    fn remove(&mut self, key: &Digest) -> Option<Entry> {
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

/// Where an entry's elements are stored, and how many bytes they take.
fn storages(entry: &Entry) -> Vec<(usize, u64)> {
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
    // One storage may be seen through several values; the count must go up and down alike.
    storages.dedup_by_key(|(address, _)| *address);
    storages
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    fn entry(floats: usize) -> Entry {
        let stream = Tensor::zeros(floats, DType::F32, &Device::Cpu).unwrap();
        Entry { stream, context: None, captured: BTreeMap::new() }
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
