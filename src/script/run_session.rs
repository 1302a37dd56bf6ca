//! What one run shares among the functions that its script may call.

use std::rc::Rc;

use super::bind::model::Models;
use super::bind::param::Params;
use super::data::{DataFiles, Stores};
use super::fingerprint::purity::LazyNatives;
use super::program::late_binding::Namespace;
use super::reuse;
use super::reuse::Reuse;
use super::run::random::Random;
use super::run::settings::Settings;
use super::weights::Adapters;
use crate::output::Run;
use crate::output::quota::Quota;
use crate::tensor::device;
use crate::{Result, bail};

/// The settings of a run, and the state behind its impure functions.
pub struct Session {
    settings: Settings,
    random: Random,
    params: Rc<Params>,
    models: Rc<Models>,
    adapters: Rc<Adapters>,
    data: Rc<DataFiles>,
    stores: Rc<Stores>,
    run: Rc<Run>,
    quota: Quota,
    namespace: Namespace,
    reuse: Reuse,
    natives: LazyNatives,
}

impl Session {
    /// The state of a run that has not begun.
    ///
    /// # Errors
    /// The settings name a device that this machine lacks, or a path to read that is no directory.
    pub fn new(settings: Settings) -> Result<Self> {
        if let Some(name) = &settings.device {
            device::parse(name).map_err(|error| error.at("--device"))?;
        }
        if let Some(path) = settings.read.iter().find(|path| !path.is_dir()) {
            bail!("--read: {} is no directory", path.display());
        }
        let quota = Quota::new(settings.limits.output, settings.limits.files);
        let (out, read) = (settings.out.clone(), settings.read.clone());
        let run = Rc::new(Run::new(out, read, settings.silent, settings.report, quota.clone()));
        Ok(Self {
            random: Random::new(settings.seed),
            params: Params::new(settings.params.clone(), settings.models.named.clone()).into(),
            models: Models::new(settings.clone()).into(),
            adapters: Adapters::new(settings.clone()).into(),
            data: DataFiles::new(settings.clone(), run.clone()).into(),
            stores: Stores::new(settings.clone(), run.clone()).into(),
            run,
            quota,
            namespace: Namespace::default(),
            reuse: Reuse::new(settings.reuse.unwrap_or(reuse::DEFAULT_LIMIT)),
            settings,
            natives: LazyNatives::default(),
        })
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The random number generator.
    pub fn random(&self) -> &Random {
        &self.random
    }

    /// The parameters that the command line gives, and those that the script asked for.
    pub fn params(&self) -> &Rc<Params> {
        &self.params
    }

    /// The models that are loaded.
    pub fn models(&self) -> &Rc<Models> {
        &self.models
    }

    /// The adapters that the script asked for.
    pub fn adapters(&self) -> &Rc<Adapters> {
        &self.adapters
    }

    /// The files that the script reads data from.
    pub fn data(&self) -> &Rc<DataFiles> {
        &self.data
    }

    /// The stores that the run writes.
    pub fn stores(&self) -> &Rc<Stores> {
        &self.stores
    }

    /// The directory that the run writes into.
    pub fn run(&self) -> &Rc<Run> {
        &self.run
    }

    /// The states that later passes can start from.
    pub fn reuse(&self) -> &Reuse {
        &self.reuse
    }

    /// The functions, imports and constants of a REPL session, which may change at any time.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// How much may still be printed and saved.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// The functions of the engine that serves the session.
    pub fn natives(&self) -> &LazyNatives {
        &self.natives
    }
}
