//! The settings of a run, from the command line or an embedding program.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::limits::Limits;
use super::policy::Policy;
use crate::output::record;
use crate::script::program::model_names::Substitutes;

/// The settings of a run. They override what a script says.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The models to load in place of those that scripts name.
    pub models: Substitutes,
    /// The device of models, as `.to()` takes it: `cpu`, `cuda`, `cuda:1`.
    pub device: Option<String>,
    /// The dtype of models: `f32`, `f16`, `bf16` or `f64`.
    pub dtype: Option<String>,
    /// Whether the network is off: only models that are embedded, on disk or cached can be loaded.
    pub offline: bool,
    /// The seed of the random numbers; `None` takes one from the operating system.
    pub seed: Option<u64>,
    /// The directory that `save` writes to; `None` makes one named after the script and the time.
    pub out: Option<PathBuf>,
    /// Directories that `load_tensors`, `load_rows` and `load_store` may read, besides the script's
    /// own.
    pub read: Vec<PathBuf>,
    /// Whether stores that an earlier run into the same directory has begun are gone on with.
    pub resume: bool,
    /// Where `m.generate` writes a text as it grows.
    pub streaming: Streaming,
    /// The bytes that may be held for reuse by later passes; `None` is
    /// [`DEFAULT_LIMIT`](crate::script::reuse::DEFAULT_LIMIT), and 0 turns reuse off.
    pub reuse: Option<u64>,
    /// The values of parameters, as `--set` gives them.
    pub params: BTreeMap<String, String>,
    /// Whether passes check every hook point for NaN and infinities.
    pub check_finite: bool,
    /// Whether nothing is printed, neither output nor notices.
    pub silent: bool,
    /// Whether a run that has something to show leaves a page, `report.html`, if this build has pages.
    pub report: bool,
    /// Who wrote the script.
    pub policy: Policy,
    /// What the run may use.
    pub limits: Limits,
    /// The commits at which models of the Hub are loaded, regardless of where their branches and
    /// tags point now.
    pub pins: Vec<Pin>,
}

/// The commit of a model of the Hub.
#[derive(Debug, Clone, PartialEq)]
pub struct Pin {
    /// The model's id, as a script names it.
    pub id: String,
    /// The revision, as a script names it.
    pub revision: Option<String>,
    /// The commit to load.
    pub commit: String,
}

/// Where a generated text is written as it grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Streaming {
    /// To standard error, if that is a terminal.
    #[default]
    Terminal,
    /// To standard output, for a command whose output is the text.
    Output,
    /// It is not written.
    Nowhere,
}

impl From<&Settings> for record::Command {
    fn from(settings: &Settings) -> Self {
        let Settings { params, models, device, dtype, .. } = settings.clone();
        Self { set: params, model: (!models.is_empty()).then(|| models.to_string()), device, dtype }
    }
}
