//! `precompute recipe show RECIPE`.

use clap::{Args, ValueHint};
use serde_json::json;
use similar::TextDiff;

use super::description::{describe, permissions, sources, visible};
use super::print_json;
use crate::cli::options::limits::MemoryLimit;
use crate::recipe::{Origin, Recipe, trust};
use crate::script::{Console, Failure};
use crate::{Result, error};

/// Show a recipe without running it: its header, what it may access, and all its files
#[derive(Args)]
#[command(
    after_help = "Examples:\n  precompute recipe show logit_lens\n  precompute recipe show hf:owner/lenses/lens.rhai\n  \
precompute recipe show lens --update"
)]
pub struct Show {
    /// The recipe
    #[arg(value_hint = ValueHint::FilePath)]
    recipe: String,

    /// Show what has changed between the version in precompute.lock and the one that its revision
    /// stands for now
    #[arg(long)]
    update: bool,

    /// Print it as JSON
    #[arg(long)]
    json: bool,

    /// Fetch nothing: use what is on disk or in the Hub's cache
    #[arg(long)]
    offline: bool,

    #[command(flatten)]
    memory: MemoryLimit,
}

impl Show {
    pub fn run(self) -> Result<(), Failure> {
        self.memory.apply();
        let recipe = Recipe::open(&self.recipe, self.offline)?;
        if self.update {
            let newer = newer(&recipe, self.offline)?;
            let changes = difference(&recipe, &newer);
            if self.json {
                let [from, to] = [&recipe, &newer].map(commit);
                return print_json(&json!({"from": from, "to": to, "difference": changes}));
            }
            return print(if changes.is_empty() {
                vec!["nothing changed".into()]
            } else {
                changes
            });
        }
        if self.json {
            let (reference, content) = match &recipe.origin {
                Origin::Hub { locked, texts, .. } => {
                    (Some(&locked.reference), Some(trust::content(texts)))
                }
                _ => (None, None),
            };
            let files = sources(&recipe)?
                .into_iter()
                .map(|(path, text)| json!({"path": path, "text": text}));
            let permissions: serde_json::Map<_, _> = permissions(&recipe)
                .into_iter()
                .map(|(what, which)| (what.into(), which.into()))
                .collect();
            return print_json(&json!({
                "name": recipe.name(), "reference": reference, "commit": commit(&recipe), "header": recipe.header,
                "may": permissions, "trusted": content.map(|content| trust::is_trusted(&content)),
                "files": files.collect::<Vec<_>>(),
            }));
        }
        print(describe(&recipe)?)
    }
}

fn commit(recipe: &Recipe) -> Option<&str> {
    match &recipe.origin {
        Origin::Hub { locked, .. } => Some(&locked.commit),
        _ => None,
    }
}

/// The recipe at the commit that its revision stands for now.
///
/// # Errors
/// It is not from the Hub, or can't be fetched.
pub fn newer(recipe: &Recipe, offline: bool) -> Result<Recipe, Failure> {
    match &recipe.origin {
        Origin::Hub { locked, .. } => {
            Recipe::fetch(&locked.remote().map_err(Failure::usage)?, offline)
        }
        _ => Err(Failure::usage(error!(
            "{} is not from the Hub, so there is nothing to compare it with",
            recipe.name()
        ))),
    }
}

/// The lines of a unified diff of two versions of a recipe, file by file; empty if they are the
/// same.
pub fn difference(old: &Recipe, new: &Recipe) -> Vec<String> {
    let (Origin::Hub { texts: old, .. }, Origin::Hub { texts: new, .. }) =
        (&old.origin, &new.origin)
    else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    for path in old.keys().chain(new.keys().filter(|path| !old.contains_key(*path))) {
        let text = |texts: &std::collections::BTreeMap<String, String>| {
            texts.get(path).cloned().unwrap_or_default()
        };
        let (before, after) = (text(old), text(new));
        if before != after {
            let diff = TextDiff::from_lines(&before, &after);
            let shown = diff.unified_diff().header(path, path).to_string();
            lines.extend(shown.lines().map(visible));
        }
    }
    lines
}

fn print(lines: Vec<String>) -> Result<(), Failure> {
    let console = Console::default();
    console.lines(lines);
    console.check().map_err(Failure::from)
}
