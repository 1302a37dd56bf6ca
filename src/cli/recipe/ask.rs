//! Asks before the first run of a recipe from the Hub, and adds the recipe to precompute.lock.

use std::io::{BufRead, IsTerminal, Write};

use super::description::describe;
use crate::recipe::lock_file::{LOCK, here};
use crate::recipe::{LockFile, Origin, Recipe, shipped, trust};
use crate::script::Failure;
use crate::system::message::notice;
use crate::{Result, bail, error};

/// Makes sure that the user trusts a recipe from the Hub with exactly these files: earlier, with
/// `--trust` (`trusted`), or by an answer now, after its source is shown.
///
/// # Errors
/// The user says no, or there is no terminal to ask at.
pub fn ensure_trusted(recipe: &Recipe, trusted: bool) -> Result<(), Failure> {
    let Origin::Hub { locked, texts, .. } = &recipe.origin else { return Ok(()) };
    let content = trust::content(texts);
    if trust::is_trusted(&content) {
        return Ok(());
    }
    if !trusted {
        let reference = &locked.reference;
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            let error = error!(
                "{reference} has not been run here before, and there is no terminal to ask at"
            );
            return Err(Failure::usage(error.help(format!(
                "read it with `precompute recipe show {reference}`, then run it with --trust"
            ))));
        }
        describe(recipe)?.into_iter().for_each(notice);
        if !confirm("\nThis is its first run here. Run it?") {
            return Err(Failure::usage(error!("{reference} was not run")));
        }
    }
    trust::trust(&content, &format!("{}@{}", recipe.id, locked.commit)).map_err(Failure::usage)
}

/// Adds a recipe from the Hub to the lock file, as `name` or by its own name. Returns its name
/// there; nothing for other recipes.
///
/// # Errors
/// The name is taken, or the lock file can't be read or written.
pub fn add_to_lock(recipe: &Recipe, name: Option<&str>) -> Result<Option<String>> {
    let Origin::Hub { locked, known, .. } = &recipe.origin else { return Ok(None) };
    if *known && name.is_none_or(|name| name == locked.name) {
        return Ok(Some(locked.name.clone()));
    }
    let mut lock = LockFile::read(&here()).map_err(|failure| error!("{}", failure.message()))?;
    let taken = |name: &str| {
        shipped::text(name).is_some()
            || lock.named(name).is_some_and(|other| other.reference != locked.reference)
    };
    let name = match name {
        Some(name) if taken(name) => {
            bail!("there is a recipe {name} already: --name gives this one another name")
        }
        Some(name) => name.to_owned(),
        None => {
            let others = (2..).map(|n| format!("{}-{n}", locked.name));
            let mut free =
                std::iter::once(locked.name.clone()).chain(others).filter(|name| !taken(name));
            free.next().unwrap_or_else(|| locked.name.clone())
        }
    };
    lock.recipes.retain(|other| other.reference != locked.reference);
    let mut own = locked.clone();
    own.name.clone_from(&name);
    lock.put(own);
    lock.write(&here())?;
    notice(format_args!("{LOCK} has {name}, at {}", locked.commit));
    Ok(Some(name))
}

/// Asks a yes-or-no question at the terminal. Anything but yes means no.
pub fn confirm(question: &str) -> bool {
    let mut to = std::io::stderr();
    let _ = write!(to, "{question} [y/N] ").and_then(|()| to.flush());
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}
