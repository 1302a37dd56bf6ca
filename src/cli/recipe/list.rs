//! `precompute recipe list`.

use clap::Args;
use serde_json::json;

use super::description::visible;
use super::print_json;
use crate::recipe::lock_file::{LOCK, here};
use crate::recipe::{Group, Header, LockFile, Recipe, shipped};
use crate::script::{Console, Failure};

/// List the recipes that ship and those that precompute.lock has, with what each is about
#[derive(Args)]
pub struct List {
    /// Print them as JSON
    #[arg(long)]
    json: bool,
}

impl List {
    pub fn run(self) -> Result<(), Failure> {
        let summary = |header: Option<&Header>| {
            header
                .and_then(|header| header.summary.as_ref())
                .map(|text| visible(text.get_ref()))
                .unwrap_or_default()
        };
        let mut ours = Vec::new();
        for (name, text) in shipped::SHIPPED {
            let header = Header::read(name, text)?;
            let group = header.as_ref().and_then(|header| header.group);
            ours.push((*name, summary(header.as_ref()), group));
        }
        let lock = LockFile::read(&here())?;
        // Nothing is fetched: a recipe that is not in the cache has no summary.
        let theirs: Vec<_> = lock
            .recipes
            .iter()
            .map(|locked| {
                let recipe = Recipe::locked(locked, true).ok();
                (locked, recipe.map(|recipe| summary(recipe.header.as_ref())))
            })
            .collect();
        if self.json {
            let shipped = ours.iter().map(|(name, summary, group)| {
                json!({"name": name, "summary": summary, "group": group, "shipped": true})
            });
            let added = theirs.iter().map(|(locked, summary)| {
                json!({
                    "name": locked.name, "summary": summary, "shipped": false,
                    "reference": locked.reference, "commit": locked.commit,
                })
            });
            return print_json(&shipped.chain(added).collect::<Vec<_>>().into());
        }
        let console = Console::default();
        for group in Group::ALL {
            let of_it = ours.iter().filter(|(_, _, own)| *own == Some(group));
            let mut rows = of_it.map(|(name, summary, _)| [*name, summary.as_str()]).peekable();
            if rows.peek().is_none() {
                continue;
            }
            console.line(&format!("{group}: {}", group.about()));
            console.columns(rows);
            console.line("");
        }
        if !theirs.is_empty() {
            console.line(&format!("In {LOCK}:"));
            console.columns(theirs.into_iter().map(|(locked, summary)| {
                [
                    locked.name.clone(),
                    summary.unwrap_or_else(|| "(not fetched yet)".into()),
                    locked.reference.clone(),
                ]
            }));
        }
        console.check().map_err(Failure::from)
    }
}
