//! The options of commands that run a script.

use clap::{Args, ValueHint};

use super::execution::Execution;
use crate::recipe::Recipe;
use crate::script::{Failure, Settings, Streaming};

/// Which script runs, and how.
#[derive(Args)]
pub struct Script {
    /// The script: a file, the name of a recipe, or hf:owner/repo/recipe.rhai[@revision]
    #[arg(value_name = "RECIPE", value_hint = ValueHint::FilePath)]
    pub file: String,

    #[command(flatten)]
    pub execution: Execution,
}

impl Script {
    /// The settings of its runs.
    ///
    /// # Errors
    /// The options can't be met.
    pub fn settings(self, recipe: &Recipe) -> Result<Settings, Failure> {
        let mut settings = self.execution.settings()?;
        // A model's id that the user gives as a parameter may be loaded, as if given with --model.
        let given: Vec<String> =
            settings.params.values().chain(settings.models.ids()).cloned().collect();
        settings.policy = recipe.policy().and_user(given);
        settings.streaming = Streaming::Terminal;
        settings.report = true;
        Ok(settings)
    }
}
