//! What one run of a script shares among the functions that it may call.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use super::late_binding::Live;
use super::limits::Limits;
use super::policy::Policy;
use super::random::Random;
use crate::output::quota::Quota;
use crate::output::{Run, record};
use crate::script::bind::model::Models;
use crate::script::bind::param::Params;
use crate::script::program::model_names::Substitutes;
use crate::script::reuse;
use crate::script::reuse::Reuse;
use crate::tensor::device;
use crate::{Result, bail};

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
    /// How many bytes may be held of passes that may be asked for again; else [`reuse::MEMORY`],
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

/// One run: its settings, and the state behind the functions that are no pure ones.
pub struct Session {
    settings: Settings,
    random: Random,
    params: Rc<Params>,
    models: Rc<Models>,
    run: Rc<Run>,
    quota: Quota,
    live: Live,
    reuse: Reuse,
}

impl Session {
    /// # Errors
    /// A device that is not there, or a directory to read that is none.
    pub fn new(settings: Settings) -> Result<Self> {
        if let Some(name) = &settings.device {
            device::parse(name).map_err(|error| error.at("--device"))?;
        }
        if let Some(path) = settings.read.iter().find(|path| !path.is_dir()) {
            bail!("--read: {} is no directory", path.display());
        }
        let quota = Quota::new(settings.limits.output, settings.limits.files);
        Ok(Self {
            random: Random::new(settings.seed),
            params: Params::new(settings.params.clone(), settings.models.named.clone()).into(),
            models: Models::new(settings.clone()).into(),
            run: Run::new(
                settings.out.clone(),
                settings.read.clone(),
                settings.silent,
                quota.clone(),
            )
            .into(),
            quota,
            live: Live::default(),
            reuse: Reuse::new(settings.reuse.unwrap_or(reuse::MEMORY)),
            settings,
        })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn random(&self) -> &Random {
        &self.random
    }

    pub fn params(&self) -> &Rc<Params> {
        &self.params
    }

    pub fn models(&self) -> &Rc<Models> {
        &self.models
    }

    pub fn run(&self) -> &Rc<Run> {
        &self.run
    }

    /// What later passes need not compute again.
    pub fn reuse(&self) -> &Reuse {
        &self.reuse
    }

    /// What names mean now, where they may change.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// What may still be printed and saved.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }
}
