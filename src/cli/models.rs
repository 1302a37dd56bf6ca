//! `precompute models`.

use clap::Args;
use serde_json::{Value as Json, json};

use super::options::limits::MemoryLimit;
use crate::checkpoint::hub::verify::CheckedFile;
use crate::checkpoint::hub::{cache, verify};
use crate::checkpoint::{DEMOS, Hub};
use crate::model::family::{FAMILIES, VERIFIED};
use crate::script::{Console, Failure};

/// List the models that need no network or are in the cache, and the families that are supported
#[derive(Args)]
#[command(
    after_help = "What model(…) and --model take: demo:NAME, a directory in the Hub's layout, or any Hub id of a \
supported family."
)]
pub struct Models {
    /// List what each family was checked against, and how closely it agrees
    #[arg(long)]
    families: bool,

    /// Check every file in the Hub's cache against the hash that it is kept under
    #[arg(long, conflicts_with = "families")]
    verify: bool,

    /// Print what --verify finds as JSON
    #[arg(long, requires = "verify")]
    json: bool,

    #[command(flatten)]
    memory: MemoryLimit,
}

impl Models {
    pub fn run(self) -> Result<(), Failure> {
        self.memory.apply();
        let console = Console::default();
        match () {
            () if self.verify => return verified(&console, self.json),
            () if self.families => families(&console),
            () => models(&console),
        }
        console.check().map_err(Failure::from)
    }
}

/// Verifies the Hub's cache and prints what was found.
fn verified(console: &Console, as_json: bool) -> Result<(), Failure> {
    let cache = Hub::default().cache_dir();
    let files = verify::verify_cache(&cache)?;
    if as_json {
        let file = |file: &CheckedFile| {
            json!({"model": file.id, "files": file.names, "path": file.path, "bytes": file.bytes, "state": file.state.label(),
                   "why": file.state.why()})
        };
        console.line(&format!("{:#}", Json::from(files.iter().map(file).collect::<Vec<_>>())));
    } else {
        console.line(&format!("In the Hub's cache, {}:", cache.display()));
        if files.is_empty() {
            console.line("  nothing yet");
        }
        console.columns(files.iter().map(|file| {
            let unnamed =
                || file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let name = if file.names.is_empty() { unnamed() } else { file.names.join(", ") };
            let state = match file.state.why() {
                Some(why) => format!("{}: {why}", file.state.label()),
                None => file.state.label().into(),
            };
            [file.id.clone(), name, size(file.bytes), state]
        }));
    }
    console.check().map_err(Failure::from)?;
    verify::corruption_error(&files).map_or(Ok(()), |error| Err(error.into()))
}

/// Prints the demos, the models in the cache and the supported families.
fn models(console: &Console) {
    console.line("Inside this program:");
    let demos = DEMOS
        .iter()
        .map(|demo| [format!("demo:{}", demo.name), size(demo.size() as u64), demo.about.into()]);
    console.columns(demos);

    let hub = Hub::default();
    let cached = cache::list_models(&hub);
    console.line(&format!("\nIn the Hub's cache, {}:", hub.cache_dir().display()));
    if cached.is_empty() {
        console.line("  nothing yet");
    }
    console.columns(cached.iter().map(|model| {
        let family = match model.family.as_deref() {
            Some(name) if FAMILIES.iter().any(|family| family.name == name) => name.to_owned(),
            Some(name) => format!("{name}, which is not supported"),
            None => "without a config.json".into(),
        };
        [model.id.clone(), size(model.bytes), family]
    }));

    console.line("\nSupported families:");
    console.columns(FAMILIES.iter().map(|family| [family.name, family.example]));
}

/// Prints what each family was checked against.
fn families(console: &Console) {
    let head =
        ["family", "a checkpoint of it", "checked on", "within", "and against"].map(str::to_owned);
    let rows = VERIFIED.iter().map(|verified| {
        let example = FAMILIES
            .iter()
            .find(|family| family.name == verified.family)
            .map_or("", |family| family.example);
        let opinion = if verified.second_opinion { "candle-transformers' model" } else { "" };
        let (fixture, within) =
            (format!("tests/fixtures/{}", verified.fixture), format!("{:e}", verified.difference));
        [verified.family.into(), example.into(), fixture, within, opinion.into()]
    });
    console.columns(std::iter::once(head).chain(rows));
    console.line("");
    console.line(LEGEND);
}

const LEGEND: &str = "\
Checked on: a tiny random checkpoint in the family's format, with goldens of every hook point, a change at every point,
interventions, both paddings and a greedy continuation, themselves checked against Hugging Face transformers. Within: the largest
absolute difference of any value, in float32, that the tests allow. Sizes differ, the equations don't: other checkpoints of a family run as
these do, and a config field that is not known is an error.";

/// A size with a decimal unit.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_that_suits_them() {
        assert_eq!([1, 1_834_464, 14_500_000_000].map(size), ["1 kB", "1.8 MB", "14.5 GB"]);
    }
}
