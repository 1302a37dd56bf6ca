//! `precompute recipe remove NAME…`.

use clap::Args;

use super::update::chosen;
use crate::recipe::LockFile;
use crate::recipe::lock_file::here;
use crate::script::Failure;

/// Remove recipes from precompute.lock
#[derive(Args)]
pub struct Remove {
    /// The recipes' names
    #[arg(required = true)]
    names: Vec<String>,
}

impl Remove {
    pub fn run(self) -> Result<(), Failure> {
        let mut lock = LockFile::read(&here())?;
        chosen(&lock, &self.names)?;
        lock.recipes.retain(|recipe| !self.names.contains(&recipe.name));
        lock.write(&here()).map_err(Failure::usage)
    }
}
