//! `precompute recipe check RECIPE…`.

use clap::{Args, ValueHint};
use serde_json::{Value as Json, json};

use super::{ask, print_json};
use crate::cli::options::limits::Limits;
use crate::cli::options::model::Models;
use crate::error;
use crate::recipe::Recipe;
use crate::recipe::check::{Checked, check};
use crate::script::{Console, Failure};

/// Compile a recipe, compare its header with its code, and run it on the demo models that it is
/// made for
#[derive(Args)]
#[command(
    after_help = "Examples:\n  precompute recipe check experiment.rhai\n  precompute recipe check scripts/*.rhai --json"
)]
pub struct Check {
    /// The recipes
    #[arg(value_name = "RECIPE", required = true, value_hint = ValueHint::FilePath)]
    recipes: Vec<String>,

    #[command(flatten)]
    model: Models,

    /// Print what was found as JSON
    #[arg(long)]
    json: bool,

    /// Run a recipe from the Hub without asking, if it has not been run here before
    #[arg(long)]
    trust: bool,

    /// Fetch nothing: use what is on disk or in the Hub's cache
    #[arg(long)]
    offline: bool,

    #[command(flatten)]
    limits: Limits,
}

impl Check {
    pub fn run(self) -> Result<(), Failure> {
        let (limits, models) = (self.limits.apply(), self.model.read()?);
        let (mut wrong, mut reports, console) = (0, Vec::new(), Console::default());
        for reference in &self.recipes {
            // A recipe that can't be checked at all counts as wrong; the others are still checked.
            let checked = Recipe::open(reference, self.offline).and_then(|recipe| {
                ask::ensure_trusted(&recipe, self.trust)?;
                check(&recipe, &models, limits)
            });
            let checked = match checked {
                Err(failure) if failure.is_interrupted() => return Err(failure),
                Err(failure) => {
                    Checked { findings: vec![failure], trials: Vec::new(), sources: Vec::new() }
                }
                Ok(checked) => checked,
            };
            wrong += usize::from(!checked.findings.is_empty());
            match self.json {
                true => reports.push(report(reference, &checked)),
                false => print(&console, reference, &checked),
            }
        }
        if self.json {
            print_json(&reports.into())?;
        }
        console.check().map_err(Failure::from)?;
        match wrong {
            0 => Ok(()),
            1 if self.recipes.len() == 1 => {
                Err(error!("{} is not as its header says", self.recipes[0]).into())
            }
            _ => Err(error!(
                "{wrong} of {} recipes are not as their headers say",
                self.recipes.len()
            )
            .into()),
        }
    }
}

fn print(console: &Console, reference: &str, checked: &Checked) {
    for finding in &checked.findings {
        console.line(&finding.to_string());
    }
    for trial in checked.trials.iter().filter(|trial| trial.failure.is_none()) {
        console.line(&format!(
            "{reference}: runs on {} in {:.1} s, saves {}",
            trial.model,
            trial.seconds,
            trial.files.join(", ")
        ));
    }
    if checked.findings.is_empty() {
        let note = if checked.trials.is_empty() {
            " (no demo is among its models: it was not run)"
        } else {
            ""
        };
        console.line(&format!("{reference}: is as its header says{note}"));
    }
}

fn report(reference: &str, checked: &Checked) -> Json {
    let findings = checked.findings.iter().map(|finding| {
        let place = finding.place();
        json!({
            "message": finding.message(), "help": finding.help_text(),
            "file": place.map(|place| &place.file), "line": place.map(|place| place.line),
            "column": place.and_then(|place| place.column),
        })
    });
    let runs = checked.trials.iter().map(
        |trial| json!({"model": trial.model, "seconds": trial.seconds, "files": trial.files, "error": trial.failure}),
    );
    json!({
        "recipe": reference, "ok": checked.findings.is_empty(),
        "findings": findings.collect::<Vec<_>>(), "runs": runs.collect::<Vec<_>>(),
    })
}
