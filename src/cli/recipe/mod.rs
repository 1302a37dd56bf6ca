//! `precompute recipe …`: one file per command.

mod add;
pub mod ask;
mod check;
mod description;
mod list;
mod new;
mod publish;
mod remove;
mod show;
mod update;
mod verify;

use clap::Subcommand;
use serde_json::Value as Json;

use crate::script::{Console, Failure};

/// Write, check, find, pin and share recipes
///
/// A recipe is a script that begins with a header, //! lines in TOML, which says what it is, what
/// it takes and what it does. It is named by a path, by the name of one that ships or that
/// precompute.lock has, or by hf:owner/repo/recipe.rhai[@revision].
#[derive(Subcommand)]
pub enum Recipe {
    New(new::New),
    Check(check::Check),
    List(list::List),
    Show(show::Show),
    Add(add::Add),
    Update(update::Update),
    Verify(verify::Verify),
    Remove(remove::Remove),
    Publish(publish::Publish),
}

impl Recipe {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Recipe::New(new) => new.run(),
            Recipe::Check(check) => check.run(),
            Recipe::List(list) => list.run(),
            Recipe::Show(show) => show.run(),
            Recipe::Add(add) => add.run(),
            Recipe::Update(update) => update.run(),
            Recipe::Verify(verify) => verify.run(),
            Recipe::Remove(remove) => remove.run(),
            Recipe::Publish(publish) => publish.run(),
        }
    }
}

fn print_json(json: &Json) -> Result<(), Failure> {
    let console = Console::default();
    console.line(&format!("{json:#}"));
    console.check().map_err(Failure::from)
}
