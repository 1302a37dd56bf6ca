//! `precompute recipe add REFERENCE`.

use clap::Args;

use super::ask;
use crate::error;
use crate::recipe::header::check_name;
use crate::recipe::{Origin, Recipe};
use crate::script::Failure;

/// Add a recipe from the Hub to precompute.lock, so that it can be run by its name; its first run
/// asks for confirmation
#[derive(Args)]
#[command(
    after_help = "Example:\n  precompute recipe add hf:owner/lenses/lens.rhai@v1 --name lens"
)]
pub struct Add {
    /// hf:owner/repo/recipe.rhai[@revision]
    reference: String,

    /// Its name in precompute.lock [default: the name in its header]
    #[arg(long)]
    name: Option<String>,

    /// Fetch nothing: use the Hub's cache
    #[arg(long)]
    offline: bool,
}

impl Add {
    pub fn run(self) -> Result<(), Failure> {
        if let Some(name) = &self.name {
            check_name(name).map_err(Failure::usage)?;
        }
        let recipe = Recipe::open(&self.reference, self.offline)?;
        let Origin::Hub { locked, .. } = &recipe.origin else {
            let error = error!("{} is not on the Hub, and needs no adding", self.reference);
            return Err(Failure::usage(
                error.help(format!("it is run as it is: precompute run {}", self.reference)),
            ));
        };
        let name = self.name.as_deref().unwrap_or(&locked.name);
        ask::add_to_lock(&recipe, Some(name)).map(drop).map_err(Failure::usage)
    }
}
