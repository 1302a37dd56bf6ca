//! What the command line, or an embedding program, says about a run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::limits::Limits;
use super::policy::Policy;
use crate::output::record;
use crate::script::program::model_names::Substitutes;

/// What the command line says. It wins over what a script says.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What scripts get for the models that they name.
    pub models: Substitutes,
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
    /// Where `m.generate` writes a text as it grows.
    pub streaming: Streaming,
    /// How many bytes may be held of passes that may be asked for again; else [`DEFAULT_LIMIT`](crate::script::reuse::DEFAULT_LIMIT),
    /// and with 0 none is.
    pub reuse: Option<u64>,
    /// What `param(name, …)` gives in place of its default, as `--set` has it.
    pub params: BTreeMap<String, String>,
    /// Passes look for a NaN or an infinity at every point.
    pub check_finite: bool,
    /// Nothing is printed or noted: only what the run saves counts.
    pub silent: bool,
    /// Whose script it is.
    pub policy: Policy,
    /// What a run may use up.
    pub limits: Limits,
    /// The commits that models from the Hub are taken at, whatever their branches and tags stand
    /// for now.
    pub pins: Vec<Pin>,
}

/// A model of the Hub, as a script asks for it, and its commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Pin {
    pub id: String,
    pub revision: Option<String>,
    pub commit: String,
}

/// Where a generated text is written as it grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Streaming {
    /// Standard error, if that is a terminal.
    #[default]
    Terminal,
    /// Standard output: the text is what the command is for.
    Output,
    Nowhere,
}

impl From<&Settings> for record::Command {
    fn from(settings: &Settings) -> Self {
        let Settings { params, models, device, dtype, .. } = settings.clone();
        Self { set: params, model: (!models.is_empty()).then(|| models.to_string()), device, dtype }
    }
}
