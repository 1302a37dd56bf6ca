//! `precompute recipe verify [NAME…]`.

use clap::Args;
use serde_json::json;

use super::print_json;
use super::update::chosen;
use crate::error;
use crate::recipe::lock_file::{LOCK, here};
use crate::recipe::{LockFile, Recipe};
use crate::script::{Console, Failure};

/// Check that every recipe in precompute.lock can be fetched and has the files that were locked
#[derive(Args)]
pub struct Verify {
    /// The recipes' names [default: all]
    names: Vec<String>,

    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,

    /// Fetch nothing: verify what is in the Hub's cache
    #[arg(long)]
    offline: bool,
}

impl Verify {
    pub fn run(self) -> Result<(), Failure> {
        let (lock, console) = (LockFile::read(&here())?, Console::default());
        let (mut reports, mut wrong) = (Vec::new(), 0);
        for locked in chosen(&lock, &self.names)? {
            let problem = Recipe::locked(&locked, self.offline)
                .err()
                .map(|failure| failure.message().to_owned());
            wrong += usize::from(problem.is_some());
            if !self.json {
                console.line(&match &problem {
                    None => format!(
                        "{}: is what was locked ({} files)",
                        locked.name,
                        locked.files.len()
                    ),
                    Some(problem) => format!("{}: {problem}", locked.name),
                });
            }
            reports.push(json!({"name": locked.name, "ok": problem.is_none(), "problem": problem}));
        }
        if self.json {
            print_json(&reports.into())?;
        }
        console.check().map_err(Failure::from)?;
        if wrong > 0 {
            return Err(error!("{wrong} of the recipes are not what {LOCK} has").into());
        }
        Ok(())
    }
}
