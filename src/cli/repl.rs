//! `precompute repl [FILE]`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::options::execution::Execution;
use super::process::exit;
use crate::repl;
use crate::script::{Failure, Host};

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
    execution: Execution,
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
        let settings = self.execution.settings()?;
        let model = settings.models.one.clone();
        let host = Host::new(settings).map_err(Failure::usage)?;
        repl::run(host, model.as_deref(), self.file.as_deref())
    }
}
