//! What one run of a script shares among the functions that it may call.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::random::Random;

/// What the command line says. It wins over what a script says.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Stands in for every id that the script gives to `model()`.
    pub model: Option<String>,
    /// As `.to()` takes it: `cpu`, `cuda`, `cuda:1`, `metal`.
    pub device: Option<String>,
    /// `f32`, `f16`, `bf16` or `f64`.
    pub dtype: Option<String>,
    /// Nothing is fetched: only what is embedded, on disk or cached is used.
    pub offline: bool,
    /// The random numbers' seed; else the operating system draws one.
    pub seed: Option<u64>,
    /// Where `save` writes; else a directory named after the script and the time.
    pub out: Option<PathBuf>,
    /// Directories that `load_tensors` may read, besides the script's own.
    pub read: Vec<PathBuf>,
    /// What `param(name, …)` gives in place of its default, as `--set` has it.
    pub params: BTreeMap<String, String>,
}

/// One run: its settings, and the state behind the functions that are no pure ones.
pub struct Session {
    settings: Settings,
    random: Random,
}

impl Session {
    pub fn new(settings: Settings) -> Self {
        let random = Random::new(settings.seed);
        Self { settings, random }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn random(&self) -> &Random {
        &self.random
    }
}
