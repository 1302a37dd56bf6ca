//! `precompute repl [FILE]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::options::limits::Limits;
use super::options::model::Models;
use super::options::reuse::Reuse;
use super::options::script::assignment;
use super::process::exit;
use crate::repl;
use crate::script::{Failure, Host, Settings};

/// Work in an interactive session: models, variables and functions stay from line to line
///
/// What is typed is a piece of script or a command; :help lists the commands. From a pipe, lines
/// are run without prompts, and the first error ends the session with exit code 1.
#[derive(Args)]
#[command(after_help = AFTER)]
pub struct Repl {
    /// A script to run first, as :run does
    #[arg(value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,

    #[command(flatten)]
    model: Models,

    /// Give a parameter of the scripts that are run its value
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,

    /// Where models compute: cpu, cuda, cuda:1
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,

    /// The dtype that models compute in, whatever their checkpoint has [default: f32]
    #[arg(long, value_name = "DTYPE", value_parser = ["f32", "f16", "bf16", "f64"])]
    dtype: Option<String>,

    /// Where save(…) writes [default: runs/session-TIME]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,

    /// Fetch nothing: use what is embedded, on disk or in the Hub's cache
    #[arg(long)]
    offline: bool,

    /// Seed of the random numbers
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Let load_rows(…), load_tensors(…) and load_store(…) read below this directory, besides the
    /// working directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    read: Vec<PathBuf>,

    /// Check every hook point of every pass for NaN and infinity, not only the output of each block
    #[arg(long)]
    check_finite: bool,

    #[command(flatten)]
    reuse: Reuse,

    #[command(flatten)]
    limits: Limits,
}

const AFTER: &str = "\
--model ID loads the model as m, and replaces the model that a script names in model(…).
Time and steps are limited for each input; memory, output and files for the whole session.

Examples:
  precompute repl --model demo:opt
  precompute repl --model gpt2 experiment.rhai
  echo 'm.config.num_hidden_layers' | precompute repl --model demo:opt";

impl Repl {
    pub fn run(self) -> Result<(), Failure> {
        exit::wait_for_slow_operations();
        let models = self.model.read()?;
        let model = models.one.clone();
        let settings = Settings {
            models,
            check_finite: self.check_finite,
            device: self.device,
            dtype: self.dtype,
            offline: self.offline,
            seed: self.seed,
            out: self.out,
            read: self.read,
            reuse: self.reuse.memory(),
            params: self.set.into_iter().collect::<BTreeMap<_, _>>(),
            limits: self.limits.apply(),
            ..Settings::default()
        };
        let host = Host::new(settings).map_err(Failure::usage)?;
        repl::run(host, model.as_deref(), self.file.as_deref())
    }
}
