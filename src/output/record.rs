//! run.json: what a run was, so that it can be repeated.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;

use crate::system::digest::sha256_hex;
use crate::system::file;
use crate::system::file::{FileKind, describe_io_error};
use crate::{Result, error, without_rust_types};

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub script: Source,
    /// Every script that it imported.
    pub imports: Vec<Source>,
    /// Each parameter that the script asked for, and the value it got.
    #[serde(deserialize_with = "distinct")]
    pub parameters: BTreeMap<String, Json>,
    pub command: Command,
    pub models: Vec<Model>,
    /// The random numbers' seed at the beginning: what `--seed` takes to repeat the run.
    pub first_seed: u64,
    /// The one in force at the end.
    pub seed: u64,
    pub versions: Versions,
    /// RFC 3339, in the local time zone.
    pub started: String,
    pub seconds: f64,
    /// `done`, or the sentence that the run failed with.
    pub outcome: String,
    pub files: Vec<Saved>,
}

/// A script's text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    pub path: String,
    pub sha256: String,
    pub text: String,
}

/// What the command line said, in its own words.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Command {
    #[serde(deserialize_with = "distinct")]
    pub set: BTreeMap<String, String>,
    /// What each `--model` said, a line each.
    pub model: Option<String>,
    pub device: Option<String>,
    pub dtype: Option<String>,
}

/// A model that the run loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub id: String,
    /// The revision that was asked for.
    pub asked: Option<String>,
    /// The commit, of a model from the Hub.
    pub revision: Option<String>,
    pub device: String,
    pub dtype: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Versions {
    pub precompute: Cow<'static, str>,
    pub candle: Cow<'static, str>,
    pub rhai: Cow<'static, str>,
}

/// A file that was saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    pub name: String,
    pub sha256: String,
}

/// A map of which no key stands twice: what a person reads of it must be what counts.
fn distinct<'de, D: Deserializer<'de>, V: Deserialize<'de>>(
    from: D,
) -> Result<BTreeMap<String, V>, D::Error> {
    struct Distinct<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for Distinct<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut values = BTreeMap::new();
            while let Some((key, value)) = map.next_entry::<String, V>()? {
                if values.contains_key(&key) {
                    return Err(A::Error::custom(format_args!("{key:?} stands twice in a map")));
                }
                values.insert(key, value);
            }
            Ok(values)
        }
    }

    from.deserialize_map(Distinct(PhantomData))
}

impl Record {
    /// # Errors
    /// There is no such file, or it is no record of a run.
    pub fn read(path: &Path) -> Result<Self> {
        let text = file::read(path, FileKind::Record)
            .map_err(|e| error!("{} can't be read: {}", path.display(), describe_io_error(&e)))?;
        let record: Record = serde_json::from_slice(&text).map_err(|e| {
            error!(
                "{} is no record of a run: {}",
                path.display(),
                without_rust_types(&e.to_string())
            )
            .help("`precompute run` leaves one, run.json, in its output directory")
        })?;
        Ok(record)
    }
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), sha256: sha256_hex(text.as_bytes()), text: text.into() }
    }
}

/// What [`Record::outcome`] says of a run that went well.
pub const DONE: &str = "done";

impl Record {
    /// Whether the run went well.
    pub fn is_done(&self) -> bool {
        self.outcome == DONE
    }
}

impl Versions {
    /// Those of this program.
    pub const CURRENT: Versions = Versions {
        precompute: Cow::Borrowed(env!("CARGO_PKG_VERSION")),
        candle: Cow::Borrowed("0.11.1"),
        rhai: Cow::Borrowed("1.27.0"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_are_those_that_are_built_in() {
        let lock = include_str!("../../Cargo.lock");
        for (name, version) in
            [("candle-core", Versions::CURRENT.candle), ("rhai", Versions::CURRENT.rhai)]
        {
            assert!(
                lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"")),
                "{name} is not {version}"
            );
        }
    }
}
