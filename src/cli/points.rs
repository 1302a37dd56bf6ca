//! `precompute points [MODEL]`.

use clap::{Args, ValueHint};

use super::options::limits::MemoryLimit;
use crate::Result;
use crate::checkpoint::{self, OpenOptions};
use crate::model::family;
use crate::model::{Spec, point_list};
use crate::script::{Console, Failure};

/// List the hook points: name, shape, what it holds, TransformerLens's name
#[derive(Args)]
#[command(after_help = AFTER)]
pub struct Points {
    /// Show the shapes of this model in numbers, and leave out points that it does not have
    #[arg(value_hint = ValueHint::AnyPath)]
    model: Option<String>,

    /// Fetch nothing: use what is embedded, on disk or in the Hub's cache
    #[arg(long)]
    offline: bool,

    #[command(flatten)]
    memory: MemoryLimit,
}

const AFTER: &str = "\
Examples:
  precompute points
  precompute points demo:opt
  precompute points EleutherAI/pythia-70m-deduped | grep attn";

impl Points {
    pub fn run(self) -> Result<(), Failure> {
        self.memory.apply();
        let spec = match &self.model {
            Some(id) => Some(spec(id, self.offline).map_err(Failure::usage)?),
            None => None,
        };
        let console = Console::default();
        if let (Some(id), Some(spec)) = (&self.model, &spec) {
            console.line(&format!("{id}: {} layers", spec.layers));
        }
        console.columns(point_list::rows(spec.as_ref()));
        console.line("");
        console.lines(point_list::legend());
        console.check().map_err(Failure::from)
    }
}

fn spec(id: &str, offline: bool) -> Result<Spec> {
    let config = checkpoint::config(id, &OpenOptions { offline, ..OpenOptions::default() })?;
    family::read(&config).map(|reading| reading.spec).map_err(|error| error.at(id))
}
