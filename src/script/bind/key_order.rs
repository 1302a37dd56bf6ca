//! The order in which a script wrote the keys of its maps. Rhai keeps a map sorted by its keys, so
//! the order is taken from the literal of the same keys that stands nearest in the source.

use std::collections::BTreeMap;
use std::rc::Rc;

use rhai::{NativeCallContext, Position};
use serde_json::{Map, Value as Json};

use crate::script::program::source::{Source, Sources};

/// Determines the order of map keys for values in one call.
pub struct Order {
    at: Position,
    /// The calling script first, then all others.
    sources: Vec<Rc<Source>>,
    /// The orders found so far, by the sorted keys.
    known: BTreeMap<Vec<String>, Vec<String>>,
}

impl Order {
    /// For the values in `call`, with the scripts read so far.
    pub fn of(call: &NativeCallContext, sources: &Sources) -> Self {
        Self {
            at: call.call_position(),
            sources: sources.from(call.call_source(), call.call_position()),
            known: BTreeMap::new(),
        }
    }

    /// Sorts the keys of every map in `json`.
    pub fn apply(&mut self, json: &mut Json) {
        match json {
            Json::Array(items) => items.iter_mut().for_each(|item| self.apply(item)),
            Json::Object(map) => self.map(map),
            _ => {}
        }
    }

    /// Sorts the keys of a map, and of the maps within it.
    pub fn map(&mut self, map: &mut Map<String, Json>) {
        map.values_mut().for_each(|value| self.apply(value));
        for key in self.keys(map.keys().cloned().collect()) {
            if let Some((key, value)) = map.shift_remove_entry(&key) {
                map.insert(key, value);
            }
        }
    }

    /// Sorted keys in the order in which they were written: as in a literal of exactly these keys;
    /// else as in the largest literal that has only such keys, followed by the others in the order
    /// of their first assignments.
    pub fn keys(&mut self, keys: Vec<String>) -> Vec<String> {
        if keys.len() < 2 {
            return keys;
        }
        if let Some(known) = self.known.get(&keys) {
            return known.clone();
        }
        let fits = |literal: &[String]| {
            !literal.is_empty() && literal.iter().all(|key| keys.contains(key))
        };
        let found = self.sources.iter().filter_map(|source| source.written.nearest(self.at, fits));
        let found = found
            .reduce(|first, other| if other.keys.len() > first.keys.len() { other } else { first });
        let mut ordered = found.map_or_else(Vec::new, |literal| literal.keys.clone());
        let place = |key: &String| {
            let places = self.sources.iter().enumerate();
            places.filter_map(|(i, source)| Some((i, *source.written.keys.get(key)?))).next()
        };
        let mut others: Vec<String> =
            keys.iter().filter(|key| !ordered.contains(key)).cloned().collect();
        others.sort_by_key(|key| place(key).map_or((usize::MAX, Position::NONE), |place| place));
        ordered.extend(others);
        self.known.insert(keys, ordered.clone());
        ordered
    }
}
