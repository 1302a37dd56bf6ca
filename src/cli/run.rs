//! `precompute run RECIPE`.

use clap::Args;

use super::options::limits::FIXED;
use super::options::script::Script;
use super::recipe::ask;
use super::watch::{self, Terminal};
use crate::recipe::Recipe;
use crate::script::bind::param::kind;
use crate::script::program::params::Declared;
use crate::script::{Console, Failure, Host, Settings};

/// Run a script
///
/// The value of the script's last expression is shown. print, tables and plots go to standard
/// output; progress, warnings and errors to standard error. What the script saves goes into the
/// output directory and nowhere else, together with run.json, which says how to repeat the run.
#[derive(Args)]
#[command(after_help = format!("{FIXED}\n\n{EXAMPLES}"))]
pub struct Run {
    #[command(flatten)]
    script: Script,

    /// List the script's parameters and stop
    #[arg(long)]
    help_params: bool,

    /// Leave no page, report.html, in the output directory
    #[arg(long)]
    no_report: bool,

    /// Go on with the stores that a run into the same --out has begun and that was broken off
    #[arg(long, requires = "out", conflicts_with = "watch")]
    resume: bool,

    /// Run the script again whenever it or a module that it imports changes; models stay loaded
    #[arg(long, conflicts_with = "help_params")]
    watch: bool,

    /// With --watch: let a run end by itself when its script changes, instead of stopping it
    #[arg(long, requires = "watch")]
    finish: bool,

    /// Run a recipe from the Hub without asking, if it has not been run here before
    #[arg(long)]
    trust: bool,
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
        let recipe = Recipe::open(&self.script.file, self.script.execution.offline)?;
        recipe.check_requires()?;
        if !self.help_params {
            ask::ensure_trusted(&recipe, self.trust)?;
            ask::add_to_lock(&recipe, None).map_err(Failure::usage)?;
        }
        let settings = self.script.settings(&recipe)?;
        let settings = Settings { resume: self.resume, report: !self.no_report, ..settings };
        let host = Host::new(settings).map_err(Failure::usage)?;
        if self.help_params {
            let console = Console::default();
            console.line(&list(&host.params(&recipe.program())?));
            return console.check().map_err(Failure::from);
        }
        let program = recipe.program();
        if self.watch {
            return watch::watch(&host, &program, self.finish, &Terminal);
        }
        host.run(&program).map(drop)
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
