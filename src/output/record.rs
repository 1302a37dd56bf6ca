//! run.json: what a run was, so that it can be repeated.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    pub script: Source,
    /// Every script that it imported.
    pub imports: Vec<Source>,
    /// Each parameter that the script asked for, and the value it got.
    pub parameters: BTreeMap<String, Json>,
    pub models: Vec<Model>,
    /// The random numbers' seed in force at the end.
    pub seed: u64,
    pub versions: Versions,
    /// RFC 3339, in the local time zone.
    pub started: String,
    pub seconds: f64,
    /// `done`, or the sentence that the run failed with.
    pub outcome: String,
    /// What was saved, by name.
    pub files: Vec<String>,
}

/// A script's text.
#[derive(Debug, Clone, Serialize)]
pub struct Source {
    pub path: String,
    pub sha256: String,
    pub text: String,
}

/// A model that the run loaded.
#[derive(Debug, Clone, Serialize)]
pub struct Model {
    pub id: String,
    /// The commit, of a model from the Hub.
    pub revision: Option<String>,
    pub device: String,
    pub dtype: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Versions {
    pub precompute: &'static str,
    pub candle: &'static str,
    pub rhai: &'static str,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { path: path.into(), sha256, text: text.into() }
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
    pub const CURRENT: Versions = Versions { precompute: env!("CARGO_PKG_VERSION"), candle: "0.11.1", rhai: "1.27.0" };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_are_those_that_are_built_in() {
        let lock = include_str!("../../Cargo.lock");
        for (name, version) in [("candle-core", Versions::CURRENT.candle), ("rhai", Versions::CURRENT.rhai)] {
            assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"")), "{name} is not {version}");
        }
    }
}
