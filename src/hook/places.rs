//! A selection of layers, positions or steps by index.

use std::fmt;

use crate::{Error, Result, bail, error};

/// Selects items of a sequence by index. Indices count from 0, negative ones from the end.
#[derive(Debug, Clone, PartialEq)]
pub enum Places {
    /// Every item.
    All,
    /// The items at these indices.
    Some(Vec<i64>),
    /// From the first index up to but without the second; without an end if that is `i64::MAX`.
    Range(i64, i64),
}

impl Places {
    /// The item at one index.
    pub fn one(place: i64) -> Self {
        Places::Some(vec![place])
    }

    /// Whether the item at index `place` of `count` items is selected.
    pub fn contains(&self, place: usize, count: usize) -> bool {
        let (place, count) = (place as i64, count as i64);
        let from_front = |at: i64| if at < 0 { at + count } else { at };
        match self {
            Places::All => true,
            Places::Some(list) => list.iter().any(|&at| from_front(at) == place),
            // `count` may grow while tokens are generated: an open range has no end to compute.
            Places::Range(start, i64::MAX) => from_front(*start) <= place,
            Places::Range(start, end) => (from_front(*start)..from_front(*end)).contains(&place),
        }
    }

    /// Whether every index that is listed exists in a sequence of `count` items. Ranges select what
    /// there is, so they always fit.
    pub fn within(&self, count: usize) -> bool {
        let count = count as i64;
        match self {
            Places::Some(list) => list.iter().all(|at| (-count..count).contains(at)),
            Places::All | Places::Range(..) => true,
        }
    }

    /// Refuses a range that ends where it begins or before, so that it selects nothing, however many
    /// items there are. `what` is what the items are called.
    ///
    /// # Errors
    /// It is such a range.
    pub fn not_empty(self, what: &str) -> Result<Self> {
        match self {
            Places::Range(start, end) if (start < 0) == (end < 0) && end <= start => Err(self
                .empty(what)
                .help(format!("a range leaves its second number out: {start}..={start} has one"))),
            places => Ok(places),
        }
    }

    fn empty(&self, what: &str) -> Error {
        error!("{what}: the range {self} is empty")
    }

    /// The selected layers of a model with `count` layers: their indices from 0, in the order
    /// given, each once.
    ///
    /// # Errors
    /// The model does not have one of the layers, or no layer is selected.
    pub fn resolve(&self, count: usize) -> Result<Vec<usize>> {
        let resolve = |layer: i64| {
            let resolved = if layer < 0 { layer + count as i64 } else { layer };
            if (0..count as i64).contains(&resolved) {
                Ok(resolved as usize)
            } else {
                Err(error!(
                    "there is no layer {layer}: the model has {count}, 0 to {}",
                    count as i64 - 1
                )
                .help("-1 is the last layer"))
            }
        };
        let mut layers = match self {
            Places::All => (0..count).collect(),
            Places::Some(list) => list.iter().map(|&l| resolve(l)).collect::<Result<Vec<_>>>()?,
            Places::Range(start, i64::MAX) => (resolve(*start)?..count).collect(),
            Places::Range(start, end) => {
                let from_front = |at: i64| if at < 0 { at + count as i64 } else { at };
                if from_front(*end) <= from_front(*start) {
                    return Err(self.empty("layers").help(format!("the model has {count} layers")));
                }
                (resolve(*start)?..=resolve(end - 1)?).collect()
            }
        };
        if layers.is_empty() {
            bail!("the layers asked for are none of the model's {count}");
        }
        let mut seen = Vec::new();
        layers.retain(|layer| {
            let first = !seen.contains(layer);
            seen.push(*layer);
            first
        });
        Ok(layers)
    }
}

/// As a script writes it: `..`, `3`, `[0, 2]`, `4..` or `4..8`.
impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Places::All => f.write_str(".."),
            Places::Some(list) if list.len() == 1 => write!(f, "{}", list[0]),
            Places::Some(list) => write!(f, "{list:?}"),
            Places::Range(start, i64::MAX) => write!(f, "{start}.."),
            Places::Range(start, end) => write!(f, "{start}..{end}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_count_from_either_end() {
        assert_eq!(Places::one(-1).resolve(4).unwrap(), [3]);
        assert_eq!(Places::Range(1, 3).resolve(4).unwrap(), [1, 2]);
        assert_eq!(Places::Range(-2, i64::MAX).resolve(4).unwrap(), [2, 3]);
        assert_eq!(Places::Range(0, -1).resolve(4).unwrap(), [0, 1, 2]);
        assert_eq!(Places::Some(vec![2, -2, 0]).resolve(4).unwrap(), [2, 0]);
        assert!(Places::one(4).resolve(4).is_err());
        assert!(Places::Range(2, 9).resolve(4).is_err());
        assert_eq!(Places::Range(-3, -1).resolve(4).unwrap(), [1, 2]);
        assert_eq!(Places::Range(-4, 4).resolve(4).unwrap(), [0, 1, 2, 3]);
    }

    #[test]
    fn an_empty_range_selects_nothing() {
        for (start, end) in [(0, 0), (1, 1), (3, 1), (-1, -1), (-1, -3)] {
            let range = Places::Range(start, end);
            assert!(range.clone().not_empty("layers").is_err(), "{range}");
            assert!(range.resolve(4).is_err(), "{range}");
            assert!((0..4).all(|place| !range.contains(place, 4)), "{range}");
        }
        // Of four these are none, and of another number they may be some.
        for (start, end) in [(-1, 0), (2, -2), (3, -4)] {
            let range = Places::Range(start, end);
            assert!(range.clone().not_empty("layers").is_ok(), "{range}");
            assert!(range.resolve(4).unwrap_err().to_string().contains("is empty"), "{range}");
        }
    }

    #[test]
    fn what_is_among_them() {
        let among = |places: Places, count: usize| -> Vec<usize> {
            (0..count).filter(|&place| places.contains(place, count)).collect()
        };
        assert_eq!(among(Places::All, 3), [0, 1, 2]);
        assert_eq!(among(Places::one(-1), 4), [3]);
        assert_eq!(among(Places::Some(vec![0, -2, 9]), 4), [0, 2]);
        assert_eq!(among(Places::Range(2, i64::MAX), 4), [2, 3]);
        assert_eq!(among(Places::Range(1, -1), 4), [1, 2]);
        assert_eq!(among(Places::Range(-2, i64::MAX), 4), [2, 3]);
        assert_eq!(among(Places::Range(1, 9), 3), [1, 2]);
    }
}
