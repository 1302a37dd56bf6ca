//! `precompute run RECIPE`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::options::limits::{FIXED, Limits};
use super::options::model::Models;
use super::options::reuse::Reuse;
use super::recipe::ask;
use super::watch;
use crate::recipe::Recipe;
use crate::script::bind::param::kind;
use crate::script::program::params::Declared;
use crate::script::{Console, Failure, Host, Settings, Streaming};

/// Run a script
///
/// The value of the script's last expression is shown. print, tables and plots go to standard
/// output; progress, warnings and errors to standard error. What the script saves goes into the
/// output directory and nowhere else, together with run.json, which says how to repeat the run.
#[derive(Args)]
#[command(after_help = format!("{FIXED}\n\n{EXAMPLES}"))]
pub struct Run {
    /// The script: a file, the name of a recipe, or hf:owner/repo/recipe.rhai[@revision]
    #[arg(value_name = "RECIPE", value_hint = ValueHint::FilePath)]
    file: String,

    /// Give a parameter of the script its value: param("name", default) then returns it
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,

    /// List the script's parameters and stop
    #[arg(long)]
    help_params: bool,

    #[command(flatten)]
    model: Models,

    /// Where models compute: cpu, cuda, cuda:1
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,

    /// The dtype that models compute in, whatever their checkpoint has [default: f32]
    #[arg(long, value_name = "DTYPE", value_parser = ["f32", "f16", "bf16", "f64"])]
    dtype: Option<String>,

    /// Where save(…) writes [default: runs/SCRIPT-TIME]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,

    /// Go on with the stores that a run into the same --out has begun and that was broken off
    #[arg(long, requires = "out", conflicts_with = "watch")]
    resume: bool,

    /// Fetch nothing: use what is embedded, on disk or in the Hub's cache
    #[arg(long)]
    offline: bool,

    /// Seed of the random numbers; run.json records which one was used
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Run the script again whenever it or a module that it imports changes; models stay loaded
    #[arg(long, conflicts_with = "help_params")]
    watch: bool,

    /// With --watch: let a run end by itself when its script changes, instead of stopping it
    #[arg(long, requires = "watch")]
    finish: bool,

    /// Check every hook point of every pass for NaN and infinity, not only the output of each block
    #[arg(long)]
    check_finite: bool,

    #[command(flatten)]
    reuse: Reuse,

    /// Let load_rows(…), load_tensors(…) and load_store(…) read below this directory, besides the
    /// script's own
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    read: Vec<PathBuf>,

    /// Run a recipe from the Hub without asking, if it has not been run here before
    #[arg(long)]
    trust: bool,

    #[command(flatten)]
    limits: Limits,
}

const EXAMPLES: &str = "\
Examples:
  precompute run experiment.rhai --help-params
  precompute run logit_lens --model gpt2
  precompute run hf:owner/lenses/lens.rhai@v1
  precompute run experiment.rhai --set prompt='Hello there' --set cutoff=0.2
  precompute run compare.rhai --model small=gpt2 --model large=gpt2-xl
  precompute run --watch experiment.rhai
  precompute run experiment.rhai --model ./my-model --dtype bf16 --out results --seed 1";

impl Run {
    pub fn run(self) -> Result<(), Failure> {
        let recipe = Recipe::open(&self.file, self.offline)?;
        recipe.check_requires()?;
        if !self.help_params {
            ask::ensure_trusted(&recipe, self.trust)?;
            ask::add_to_lock(&recipe, None).map_err(Failure::usage)?;
        }
        // A model's id that the user gives as a parameter may be loaded, as if given with --model.
        let models = self.model.read()?;
        let given = self.set.iter().map(|(_, value)| value).chain(models.ids());
        let policy = recipe.policy().and_user(given.cloned());
        let settings = Settings {
            models,
            device: self.device,
            dtype: self.dtype,
            offline: self.offline,
            seed: self.seed,
            out: self.out,
            read: self.read,
            resume: self.resume,
            reuse: self.reuse.memory(),
            streaming: Streaming::Terminal,
            params: self.set.into_iter().collect::<BTreeMap<_, _>>(),
            check_finite: self.check_finite,
            policy,
            limits: self.limits.apply(),
            ..Settings::default()
        };
        let host = Host::new(settings).map_err(Failure::usage)?;
        if self.help_params {
            let console = Console::default();
            console.line(&list(&host.params(&recipe.program())?));
            return console.check().map_err(Failure::from);
        }
        let program = recipe.program();
        if self.watch {
            return watch::watch(&host, &program, self.finish);
        }
        host.run(&program).map(drop)
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

/// The text of `--help-params`: each parameter's name, type, default and purpose.
fn list(params: &[Declared]) -> String {
    if params.is_empty() {
        return "The script has no parameters.".into();
    }
    let mut lines: Vec<String> = Vec::new();
    for param in params {
        let Some(name) = &param.name else {
            lines.push("  … and others, whose names the script works out as it runs".into());
            continue;
        };
        let default = match &param.default {
            Some(default) if default.is_unit() => "no default".into(),
            Some(default) => format!("{}, by default {default:?}", kind(default)),
            None => "a default worked out by the script".into(),
        };
        let help = param.help.as_ref().map(|help| format!("\n      {help}")).unwrap_or_default();
        let line = format!("  --set {name}=…   {default}{help}");
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    format!("Parameters of the script:\n{}", lines.join("\n"))
}
