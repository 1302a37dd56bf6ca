//! The combinations of a sweep, in one order that its grid, rows and repetitions decide.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::axis::Axis;
use crate::data::rows::Row;
use crate::system::digest::hex;
use crate::{Result, bail};

/// The most combinations of a sweep.
pub const MAX_ITEMS: usize = 1_000_000;

/// The digits of a combination's id: 64 bits.
const ID_DIGITS: usize = 16;

/// The columns that the sweep's table has of its own.
pub const COLUMNS: [&str; 3] = ["item", "repetition", "seed"];

/// One combination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// The digest of everything that decides its result, as far as that is known before: script,
    /// imports, parameters, seed, the program's version.
    pub id: String,
    /// The parameters that the sweep sets, as `--set` takes them.
    pub parameters: BTreeMap<String, String>,
    /// Which repetition it is, from 0, and its seed, where the sweep repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetition: Option<(u64, u64)>,
}

/// All combinations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The script, as it was named.
    pub script: String,
    /// The combinations, in order.
    pub items: Vec<Item>,
}

/// What a sweep is made of.
pub struct Parts<'a> {
    /// The script, as it was named.
    pub script: &'a str,
    /// A text of everything that decides the results of all combinations: the texts of the script
    /// and its imports, the program's version, further options.
    pub basis: String,
    /// `--grid`, in order.
    pub grid: &'a [Axis],
    /// The rows of `--rows`; one without columns if there are none.
    pub rows: Vec<Row>,
    /// How often each combination is run, if that was said, and the first seed.
    pub repeat: Option<(u64, u64)>,
}

impl Item {
    /// Whether its id is one that a sweep gives, and so a file's name and no path.
    pub fn has_id(&self) -> bool {
        self.id.len() == ID_DIGITS && self.id.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

impl Plan {
    /// The combinations of every row with every value of each axis and every repetition. The last
    /// axis changes fastest, but for the repetition. What stands twice is one combination.
    ///
    /// # Errors
    /// There are too many; a parameter is set twice, or is called as a column of the table.
    pub fn new(parts: &Parts) -> Result<Self> {
        let axes = parts.grid.iter().map(|axis| axis.values.len());
        let repetitions = parts.repeat.map_or(1, |(count, _)| count);
        let count = axes
            .map(|n| n as u64)
            .chain([parts.rows.len() as u64, repetitions])
            .try_fold(1u64, u64::checked_mul);
        if count.is_none_or(|count| count > MAX_ITEMS as u64) {
            bail!("the sweep has more than {MAX_ITEMS} combinations");
        }
        let mut names: Vec<&str> = parts.grid.iter().map(|axis| axis.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("--grid {}=… is given twice", twice[0]);
        }
        let columns =
            names.into_iter().chain(parts.rows.iter().flat_map(Row::keys).map(|k| k.as_str()));
        if let Some(taken) = columns.into_iter().find(|name| COLUMNS.contains(name)) {
            bail!(
                "a parameter that a sweep sets can't be called {taken}: its table has a column of that name"
            );
        }
        let (mut items, mut ids) = (Vec::new(), HashSet::new());
        for row in &parts.rows {
            let mut combinations = vec![parameters(row)];
            for axis in parts.grid {
                if row.contains_key(&axis.name) {
                    bail!("{} is set by --grid and by a column of --rows", axis.name);
                }
                let with = |before: &BTreeMap<String, String>| {
                    let before = before.clone();
                    axis.values
                        .iter()
                        .map(move |value| {
                            let mut all = before.clone();
                            all.insert(axis.name.clone(), value.clone());
                            all
                        })
                        .collect::<Vec<_>>()
                };
                combinations = combinations.iter().flat_map(with).collect();
            }
            for parameters in combinations {
                for repetition in 0..repetitions {
                    let repetition =
                        parts.repeat.map(|(_, seed)| (repetition, seed.wrapping_add(repetition)));
                    let id = id(&parts.basis, &parameters, repetition.map(|(_, seed)| seed));
                    if ids.insert(id.clone()) {
                        items.push(Item { id, parameters: parameters.clone(), repetition });
                    }
                }
            }
        }
        Ok(Self { script: parts.script.into(), items })
    }
}

/// A row's cells as `--set` takes them; empty ones set nothing.
fn parameters(row: &Row) -> BTreeMap<String, String> {
    let cell = |(name, cell): (&String, &Json)| match cell {
        Json::Null => None,
        Json::String(text) => Some((name.clone(), text.clone())),
        other => Some((name.clone(), other.to_string())),
    };
    row.iter().filter_map(cell).collect()
}

fn id(basis: &str, parameters: &BTreeMap<String, String>, seed: Option<u64>) -> String {
    let mut digest = Sha256::new();
    let mut add = |text: &str| {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    };
    add(basis);
    for (name, value) in parameters {
        add(name);
        add(value);
    }
    add(&format!("{seed:?}"));
    let mut id = hex(&digest.finalize());
    id.truncate(ID_DIGITS);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(grid: &[&str], rows: Vec<Row>, repeat: Option<(u64, u64)>) -> Result<Plan> {
        let grid: Vec<Axis> = grid.iter().map(|axis| axis.parse().unwrap()).collect();
        Plan::new(&Parts { script: "s.rhai", basis: "text".into(), grid: &grid, rows, repeat })
    }

    fn shown(plan: &Plan) -> Vec<String> {
        let item = |item: &Item| {
            let parameters: Vec<String> =
                item.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let seed = item.repetition.map_or_else(String::new, |(_, seed)| format!(" #{seed}"));
            format!("{}{seed}", parameters.join(" "))
        };
        plan.items.iter().map(item).collect()
    }

    #[test]
    fn combinations_come_in_one_order_and_have_ids_of_their_own() {
        let rows = vec![
            Row::from_iter([("p".into(), Json::from("x")), ("q".into(), Json::Null)]),
            Row::from_iter([("p".into(), Json::from(3))]),
        ];
        let all = plan(&["a=1,2", "b=u,v"], rows.clone(), None).unwrap();
        assert_eq!(
            shown(&all),
            [
                "a=1 b=u p=x",
                "a=1 b=v p=x",
                "a=2 b=u p=x",
                "a=2 b=v p=x",
                "a=1 b=u p=3",
                "a=1 b=v p=3",
                "a=2 b=u p=3",
                "a=2 b=v p=3"
            ]
        );
        let mut ids: Vec<&String> = all.items.iter().map(|item| &item.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 8);
        let twice = plan(&["a=1,1"], vec![Row::new(), Row::new()], None).unwrap();
        assert_eq!(shown(&twice), ["a=1"]);
        let repeated = plan(&["a=1"], vec![Row::new()], Some((2, 7))).unwrap();
        assert_eq!(shown(&repeated), ["a=1 #7", "a=1 #8"]);
        // More values do not change the ids of the others.
        let wider = plan(&["a=0,1,2", "b=u,v"], rows, None).unwrap();
        assert!(all.items.iter().all(|item| wider.items.contains(item)));
    }

    #[test]
    fn what_can_not_be_combined_is_a_sentence() {
        let row = || vec![Row::from_iter([("a".into(), Json::from(1))])];
        for (made, sentence) in [
            (plan(&["a=1", "a=2"], vec![Row::new()], None), "--grid a=… is given twice"),
            (plan(&["a=1"], row(), None), "a is set by --grid and by a column of --rows"),
            (
                plan(&["seed=1,2"], vec![Row::new()], None),
                "a parameter that a sweep sets can't be called seed: its table has a column of that name",
            ),
            (
                plan(&["a=0..1000000", "b=1,2"], vec![Row::new()], None),
                "the sweep has more than 1000000 combinations",
            ),
        ] {
            assert_eq!(made.unwrap_err().message(), sentence);
        }
    }
}
