//! The options by which scripts run: what `precompute run`, `live` and `repl` have in common.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::limits::Limits;
use super::model::Models;
use super::reuse::Reuse;
use crate::script::{Failure, Settings};

/// On what scripts run, within which limits, and where their results go.
#[derive(Args)]
pub struct Execution {
    /// Give a parameter of the script its value: param("name", default) then returns it
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,

    #[command(flatten)]
    model: Models,

    /// Where models compute: cpu, cuda, cuda:1
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,

    /// The dtype that models compute in, whatever their checkpoint has [default: f32]
    #[arg(long, value_name = "DTYPE", value_parser = ["f32", "f16", "bf16", "f64"])]
    dtype: Option<String>,

    /// Where save(…) writes [default: runs/SCRIPT-TIME, or runs/session-TIME]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,

    /// Fetch nothing: use what is embedded, on disk or in the Hub's cache
    #[arg(long)]
    pub offline: bool,

    /// Seed of the random numbers; run.json records which one was used
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Check every hook point of every pass for NaN and infinity, not only the output of each block
    #[arg(long)]
    check_finite: bool,

    #[command(flatten)]
    reuse: Reuse,

    /// Let load_rows(…), load_tensors(…) and load_store(…) read below this directory, besides the
    /// script's own, or a session's working directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    read: Vec<PathBuf>,

    #[command(flatten)]
    limits: Limits,
}

impl Execution {
    /// The settings of what runs so.
    ///
    /// # Errors
    /// The options can't be met.
    pub fn settings(self) -> Result<Settings, Failure> {
        Ok(Settings {
            models: self.model.read()?,
            device: self.device,
            dtype: self.dtype,
            offline: self.offline,
            seed: self.seed,
            out: self.out,
            read: self.read,
            reuse: self.reuse.memory(),
            params: self.set.into_iter().collect(),
            check_finite: self.check_finite,
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
