//! `precompute points [MODEL]`.

use clap::{Args, ValueHint};

use super::columns;
use crate::Result;
use crate::checkpoint::{self, Open};
use crate::hook::{Alias, Dim, Point};
use crate::model::Spec;
use crate::model::family::Family;
use crate::script::Failure;
use crate::script::console::Console;

/// List the hook points: name, shape, what stands there, TransformerLens's name
#[derive(Args)]
#[command(after_help = AFTER)]
pub struct Points {
    /// Give the shapes of this model in numbers, and leave out what it does not have
    #[arg(value_hint = ValueHint::AnyPath)]
    model: Option<String>,

    /// Fetch nothing: use what is embedded, on disk or in the Hub's cache
    #[arg(long)]
    offline: bool,
}

const AFTER: &str = "\
Examples:
  precompute points
  precompute points demo:opt
  precompute points EleutherAI/pythia-70m-deduped | grep attn";

const LEGEND: &str = "\
b batch, n tokens, m tokens attended to (n, or more with a cache), e embedding size, d hidden size, h query heads,
k key/value heads, c head size, f feed-forward size, v vocabulary.
In hook(name, …) a TransformerLens name binds the same point and layer, as in blocks.3.hook_resid_post. The tensor is the
one listed here: queries, keys, values and attn.hook_z stay heads first, where TransformerLens has them after the tokens.";

impl Points {
    pub fn run(self) -> Result<(), Failure> {
        let spec = match &self.model {
            Some(id) => Some(spec(id, self.offline).map_err(Failure::usage)?),
            None => None,
        };
        let console = Console::default();
        let known = Point::ALL.into_iter().filter(|point| spec.as_ref().is_none_or(|spec| spec.has(*point)));
        let head = ["point", "shape", "what it holds", "TransformerLens name"].map(str::to_owned);
        let rows = known.map(|point| {
            let spec = spec.as_ref();
            [point.name().to_owned(), shape(point, spec), point.holds().to_owned(), alias(point, spec)]
        });
        if let (Some(id), Some(spec)) = (&self.model, &spec) {
            console.line(&format!("{id}: {} layers", spec.layers));
        }
        console.lines(columns(std::iter::once(head).chain(rows)));
        console.line("");
        console.line(LEGEND);
        console.check().map_err(Failure::from)
    }
}

fn spec(id: &str, offline: bool) -> Result<Spec> {
    let config = checkpoint::config(id, &Open { offline, ..Open::default() })?;
    Family::of(&config).and_then(|family| family.read(&config)).map(|(spec, _)| spec).map_err(|error| error.at(id))
}

/// `b n d`, or `b n 768` where the model settles it.
fn shape(point: Point, spec: Option<&Spec>) -> String {
    let dim = |dim: &Dim| match spec.and_then(|spec| spec.size(*dim)) {
        Some(size) => size.to_string(),
        None => dim.letter().to_owned(),
    };
    point.shape().iter().map(dim).collect::<Vec<_>>().join(" ")
}

fn alias(point: Point, spec: Option<&Spec>) -> String {
    let block = if point.in_block() { "blocks.{i}." } else { "" };
    match (point.alias(), spec) {
        (None, _) => "—".into(),
        (Some(Alias::Always(name)), _) => format!("{block}{name}"),
        (Some(Alias::ByRotary { plain, rotary }), Some(spec)) => {
            format!("{block}{}", if spec.rotary().is_some() { rotary } else { plain })
        }
        (Some(Alias::ByRotary { plain, rotary }), None) => {
            format!("{block}{plain}; rotary families {block}{rotary}")
        }
    }
}
