//! The options of commands that run a script.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::limits::Limits;
use super::model::Models;
use super::reuse::Reuse;
use crate::recipe::Recipe;
use crate::script::{Failure, Settings, Streaming};

/// Which script runs, on what, and where its results go.
#[derive(Args)]
pub struct Script {
    /// The script: a file, the name of a recipe, or hf:owner/repo/recipe.rhai[@revision]
    #[arg(value_name = "RECIPE", value_hint = ValueHint::FilePath)]
    pub file: String,

    /// Give a parameter of the script its value: param("name", default) then returns it
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub set: Vec<(String, String)>,

    #[command(flatten)]
    pub model: Models,

    /// Where models compute: cpu, cuda, cuda:1
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,

    /// The dtype that models compute in, whatever their checkpoint has [default: f32]
    #[arg(long, value_name = "DTYPE", value_parser = ["f32", "f16", "bf16", "f64"])]
    pub dtype: Option<String>,

    /// Where save(…) writes [default: runs/SCRIPT-TIME]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,

    /// Fetch nothing: use what is embedded, on disk or in the Hub's cache
    #[arg(long)]
    pub offline: bool,

    /// Seed of the random numbers; run.json records which one was used
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Check every hook point of every pass for NaN and infinity, not only the output of each block
    #[arg(long)]
    pub check_finite: bool,

    #[command(flatten)]
    pub reuse: Reuse,

    /// Let load_rows(…), load_tensors(…) and load_store(…) read below this directory, besides the
    /// script's own
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub read: Vec<PathBuf>,

    #[command(flatten)]
    pub limits: Limits,
}

impl Script {
    /// The settings of its runs.
    ///
    /// # Errors
    /// The options can't be met.
    pub fn settings(self, recipe: &Recipe) -> Result<Settings, Failure> {
        // A model's id that the user gives as a parameter may be loaded, as if given with --model.
        let models = self.model.read()?;
        let given = self.set.iter().map(|(_, value)| value).chain(models.ids());
        let policy = recipe.policy().and_user(given.cloned());
        Ok(Settings {
            models,
            device: self.device,
            dtype: self.dtype,
            offline: self.offline,
            seed: self.seed,
            out: self.out,
            read: self.read,
            reuse: self.reuse.memory(),
            streaming: Streaming::Terminal,
            params: self.set.into_iter().collect::<BTreeMap<_, _>>(),
            check_finite: self.check_finite,
            report: true,
            policy,
            limits: self.limits.apply(),
            ..Settings::default()
        })
    }
}

/// Parses `NAME=VALUE`.
///
/// # Errors
/// There is no `=`, or no name before it.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().into(), value.into())),
        _ => Err("a parameter is given as NAME=VALUE".into()),
    }
}
