//! `precompute recipe update [NAME…]`.

use clap::Args;
use serde_json::json;

use super::print_json;
use super::show::{difference, newer};
use crate::error;
use crate::recipe::lock_file::{LOCK, here};
use crate::recipe::{LockFile, LockedRecipe, Origin, Recipe};
use crate::script::{Console, Failure};

/// Update recipes in precompute.lock to the commits that their revisions stand for now, and show
/// what changes; the next run asks for confirmation
#[derive(Args)]
pub struct Update {
    /// The recipes' names [default: all]
    names: Vec<String>,

    /// Print what changed as JSON
    #[arg(long)]
    json: bool,
}

impl Update {
    pub fn run(self) -> Result<(), Failure> {
        let (mut lock, console) = (LockFile::read(&here())?, Console::default());
        let mut reports = Vec::new();
        for locked in chosen(&lock, &self.names)? {
            // The locked version may be gone from the Hub and the cache. The new one can be fetched
            // without it.
            let recipe = Recipe::locked(&locked, false);
            let new = match &recipe {
                Ok(recipe) => newer(recipe, false)?,
                Err(_) => Recipe::fetch(&locked.remote().map_err(Failure::usage)?, false)?,
            };
            let Origin::Hub { locked: now, .. } = &new.origin else { continue };
            let stays = now.commit == locked.commit && now.files == locked.files;
            let changes = match &recipe {
                Ok(recipe) if !stays => difference(recipe, &new),
                Err(failure) if !stays => {
                    vec![format!("  what was locked can't be compared: {}", failure.message())]
                }
                _ => Vec::new(),
            };
            if self.json {
                reports.push(json!({
                    "name": locked.name, "from": locked.commit, "to": now.commit, "difference": changes,
                }));
            } else if stays {
                console.line(&format!("{}: stays at {}", locked.name, locked.commit));
            } else {
                console.line(&format!("{}: {} → {}", locked.name, locked.commit, now.commit));
                console.lines(changes);
            }
            lock.put(LockedRecipe { name: locked.name, ..now.clone() });
        }
        lock.write(&here()).map_err(Failure::usage)?;
        if self.json {
            print_json(&reports.into())?;
        }
        console.check().map_err(Failure::from)
    }
}

/// The recipes of these names in the lock file; all if `names` is empty.
///
/// # Errors
/// The lock file has no recipe of some name.
pub fn chosen(lock: &LockFile, names: &[String]) -> Result<Vec<LockedRecipe>, Failure> {
    if names.is_empty() {
        return Ok(lock.recipes.clone());
    }
    let find = |name: &String| {
        lock.named(name).cloned().ok_or_else(|| {
            let error = error!("{LOCK} has no recipe {name}");
            let known: Vec<&str> = lock.recipes.iter().map(|recipe| recipe.name.as_str()).collect();
            Failure::usage(if known.is_empty() {
                error
            } else {
                error.help(format!("it has {}", known.join(", ")))
            })
        })
    };
    names.iter().map(find).collect()
}
