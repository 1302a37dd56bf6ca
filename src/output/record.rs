//! The record of a run, `run.json`: everything that `rerun` needs to repeat it.

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

/// The record of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The script that was run; of an interactive session, what was entered.
    pub script: ScriptText,
    /// Where the script came from, if it was run from the Hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<HubRecipe>,
    /// The scripts that it imported, directly or through others.
    pub imports: Vec<ScriptText>,
    /// The parameters that the script asked for, with the values that it got.
    #[serde(deserialize_with = "distinct")]
    pub parameters: BTreeMap<String, Json>,
    /// The settings of the command line that a repeated run needs.
    pub command: Command,
    /// The models that the run loaded.
    pub models: Vec<Model>,
    /// The adapters that the run put on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<Adapter>,
    /// The repositories of the Hub that the run read data from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<HubData>,
    /// The seed of the random numbers at the start. `--seed` with it repeats the run.
    pub first_seed: u64,
    /// The seed in force at the end, which differs if the script called `seed`.
    pub seed: u64,
    /// The versions that results may depend on.
    pub versions: Versions,
    /// The vector instructions that passes on the CPU used: `avx512`,
    /// `avx2` or `portable`. Older records have none.
    #[serde(default)]
    pub engine: Option<String>,
    /// When the run started, in RFC 3339 with the local time zone's offset.
    pub started: String,
    /// How long the run took, in seconds.
    pub seconds: f64,
    /// [`DONE`], or the error message that the run ended with.
    pub outcome: String,
    /// The files that the run saved.
    pub files: Vec<Saved>,
}

/// A script as it was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScriptText {
    /// The name that messages call it: its path, or `precompute:NAME` or `hf:…` for one that is no
    /// file.
    pub path: String,
    /// The SHA-256 of `text`, in hexadecimal digits.
    pub sha256: String,
    /// The whole text.
    pub text: String,
}

/// A recipe of the Hub, at the commit that it was run at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubRecipe {
    /// `hf:owner/repo/path.rhai`, followed by `@revision` if one was asked for.
    pub reference: String,
    /// What the revision stood for: 40 hexadecimal digits.
    pub commit: String,
    /// The SHA-256 of the script's text, in hexadecimal digits.
    pub sha256: String,
}

/// The settings that the command line gave, as it gave them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// `--set NAME=VALUE`, by name.
    #[serde(deserialize_with = "distinct")]
    pub set: BTreeMap<String, String>,
    /// The arguments of `--model`, one per line.
    pub model: Option<String>,
    /// `--device`.
    pub device: Option<String>,
    /// `--dtype`.
    pub dtype: Option<String>,
}

/// A model that a run loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its Hub id, its directory, or `demo:NAME`.
    pub id: String,
    /// The revision that the script asked for, if it named one.
    pub asked: Option<String>,
    /// The commit that was loaded, for a model from the Hub.
    pub revision: Option<String>,
    /// The device that it computed on.
    pub device: String,
    /// The dtype that it computed in.
    pub dtype: String,
}

/// An adapter that a run put on a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adapter {
    /// Its Hub id, or its directory.
    pub id: String,
    /// The revision that the script asked for, if it named one.
    pub asked: Option<String>,
    /// The commit that was loaded, for an adapter from the Hub.
    pub revision: Option<String>,
    /// The model that it was put on, as the script named that.
    pub model: String,
}

/// A repository of the Hub that a run read data from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HubData {
    /// `owner/repo` of a model, `datasets/owner/repo` of a data set.
    pub id: String,
    /// The revision that the script asked for, if it named one.
    pub asked: Option<String>,
    /// The commit that was read.
    pub revision: String,
}

/// The versions of this program and of the libraries that compute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Versions {
    /// This program.
    pub precompute: Cow<'static, str>,
    /// candle-core.
    pub candle: Cow<'static, str>,
    /// Rhai.
    pub rhai: Cow<'static, str>,
}

/// A file that a run saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The name that it was saved under, with `/` between folders.
    pub name: String,
    /// The SHA-256 of its contents, in hexadecimal digits.
    pub sha256: String,
}

/// Deserializes a map and refuses a repeated key. Serde would take the last value, while a person
/// who reads the record may see the first.
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
    /// Reads a record from a file.
    ///
    /// # Errors
    /// The file can't be read, or is not a record.
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

impl ScriptText {
    /// A script called `path` with its text.
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), sha256: sha256_hex(text.as_bytes()), text: text.into() }
    }
}

/// The value of [`Record::outcome`] for a run that succeeded.
pub const DONE: &str = "done";

impl Record {
    /// Whether the run succeeded.
    pub fn is_done(&self) -> bool {
        self.outcome == DONE
    }
}

impl Versions {
    /// The versions that this program was built with.
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
