//! Which of several things is meant: layers, positions, steps.

use std::fmt;

use crate::{Result, bail, error};

/// Some of a row of things that are counted from 0; negative numbers count from the last.
#[derive(Debug, Clone, PartialEq)]
pub enum Places {
    All,
    Some(Vec<i64>),
    /// `start..end`
    Range(i64, i64),
}

impl Places {
    pub fn one(place: i64) -> Self {
        Places::Some(vec![place])
    }

    /// Whether `place`, the thing of which there are `count`, is among them.
    pub fn contains(&self, place: usize, count: usize) -> bool {
        let (place, count) = (place as i64, count as i64);
        let from_front = |at: i64| if at < 0 { at + count } else { at };
        match self {
            Places::All => true,
            Places::Some(list) => list.iter().any(|&at| from_front(at) == place),
            // A range that is open at its end reaches whatever comes.
            Places::Range(start, i64::MAX) => from_front(*start) <= place,
            Places::Range(start, end) => (from_front(*start)..from_front(*end)).contains(&place),
        }
    }

    /// Whether each that is named is one of `count`.
    pub fn within(&self, count: usize) -> bool {
        let count = count as i64;
        match self {
            Places::Some(list) => list.iter().all(|at| (-count..count).contains(at)),
            Places::All | Places::Range(..) => true,
        }
    }

    /// The layers of a model with `count` of them, in the order given, each once.
    ///
    /// # Errors
    /// A layer that the model does not have.
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
            Places::Range(start, end) => {
                let start = resolve(*start)?;
                let end = match *end {
                    i64::MAX => count,
                    end => resolve(if end < 0 { end } else { end - 1 })? + usize::from(end >= 0),
                };
                (start..end).collect()
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

/// As a script writes them.
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
        assert!(Places::Range(2, 2).resolve(4).is_err());
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
