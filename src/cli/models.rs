//! `precompute models`.

use clap::Args;

use super::columns;
use crate::checkpoint::{DEMOS, Hub, cache};
use crate::model::family::FAMILIES;
use crate::script::Failure;
use crate::script::console::Console;

/// List the models that need no network, and the families that are supported
#[derive(Args)]
#[command(
    after_help = "What model(…) and --model take: demo:NAME, a directory in the Hub's layout, or any Hub id of a \
supported family."
)]
pub struct Models {}

impl Models {
    pub fn run(self) -> Result<(), Failure> {
        let console = Console::default();
        console.line("Inside this program:");
        let demos =
            DEMOS.iter().map(|demo| [format!("demo:{}", demo.name), size(demo.size() as u64), demo.about.into()]);
        console.lines(columns(demos));

        let hub = Hub::default();
        let cached = cache::list(&hub);
        console.line(&format!("\nIn the Hub's cache, {}:", hub.cache().display()));
        if cached.is_empty() {
            console.line("  nothing yet");
        }
        console.lines(columns(cached.iter().map(|model| {
            let family = match model.family.as_deref() {
                Some(name) if FAMILIES.iter().any(|family| family.name == name) => name.to_owned(),
                Some(name) => format!("{name}, which is not supported"),
                None => "without a config.json".into(),
            };
            [model.id.clone(), size(model.bytes), family]
        })));

        console.line("\nSupported families:");
        console.lines(columns(FAMILIES.iter().map(|family| [family.name, family.example])));
        console.check().map_err(Failure::from)
    }
}

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
