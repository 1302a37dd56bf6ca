//! `plot`, `heatmap`, `attention`, `graph`, `text`: pictures of a script's numbers, drawn in the terminal and
//! saved; and `note`, the prose between them.

mod graph;
mod grid;
mod plot;

use std::rc::Rc;

use rhai::{Array, Dynamic, Map};

use crate::output::Run;
use crate::output::items::Item;
use crate::output::picture::Picture;
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::run::console::{Console, terminal_width};
use crate::script::value::options::Options;
use crate::{Result, error};

/// A picture, and the name that its file was asked to have.
type Named = (Picture, Option<String>);

/// Saves the picture, and draws it if standard output is a terminal.
fn show(run: &Run, console: &Console, (picture, name): Named) -> Result<()> {
    let (stem, extension) =
        match name.as_deref().map(|name| name.rsplit_once('.').unwrap_or((name, ""))) {
            Some((stem, extension @ ("svg" | "png"))) => (stem.to_owned(), extension.to_owned()),
            Some(_) => (name.unwrap_or_default(), "svg".into()),
            None => (slug(picture.title()), "svg".into()),
        };
    let file = run.unused(&stem, &extension);
    let bytes = if extension == "png" { picture.png()? } else { picture.svg()?.into_bytes() };
    run.write(&file, |to| to.write_all(&bytes).map_err(|e| error!("{e}")))?;
    if let Some(width) = terminal_width() {
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        console.picture(picture.terminal(width, colour)?.trim_end_matches('\n'));
    }
    run.show(Item::Picture { file, picture })
}

/// The file name for a title: `power-spectrum-layer-3` for `Power spectrum, layer 3`.
fn slug(title: &str) -> String {
    let mut slug = String::new();
    for c in title.chars() {
        if c.is_alphanumeric() {
            slug.extend(c.to_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug: String = slug.trim_end_matches('-').chars().take(80).collect();
    if slug.is_empty() { "plot".into() } else { slug }
}

/// The option `name`: what the picture's file is called.
fn name(options: &Options) -> Result<Option<String>> {
    Ok(options.string("name")?.map(|name| name.to_string()))
}

fn text(options: &Options, name: &str) -> Result<String> {
    Ok(options.string(name)?.map(|text| text.to_string()).unwrap_or_default())
}

/// Registers pictures.
pub fn install(registry: &mut Registry, run: &Rc<Run>, console: &Console) {
    let pictures = Pictures { run: run.clone(), console: console.clone() };
    let own = pictures.clone();
    registry
        .declare("plot(options)", Purity::Impure("draws"), OnGpu::FETCHED, Gradient::Outside)
        .row(
            "draws #{y, x, title, log: \"xy\", labels, xlabel, ylabel, kind, bins, name}; y is [n], \
            [s, n] or a map from label to [n]; kind is \"line\", \"scatter\" (points alone), \"bar\" \
            (x names the bars), \"hist\" (how many of y are in each of bins intervals) or \"box\" \
            (quartiles of each series)",
            r#"plot(#{title: "Squares", y: [0, 1, 4, 9]})"#,
            "",
        )
        .function(move |options: Map| own.show(plot::plot(options)));
    let (own, with_options) = (pictures.clone(), pictures.clone());
    registry
        .declare(
            "heatmap(matrix, options)",
            Purity::Impure("draws"),
            OnGpu::FETCHED,
            Gradient::Outside,
        )
        .row(
            "draws numbers [n, m]: (matrix, #{x, y, title, xlabel, ylabel, name, text, min, \
            max}); text [n, m] stands in the cells, min and max are the ends of the \
            colours",
            r#"heatmap(tensor([[1.0, 2.0], [3.0, 4.0]]), #{title: "Four"})"#,
            "",
        )
        .function(move |values: Dynamic| own.show(grid::heatmap(&values, Map::new())))
        .function(move |values: Dynamic, options: Map| {
            with_options.show(grid::heatmap(&values, options))
        });
    let (own, with_options) = (pictures.clone(), pictures.clone());
    registry
        .declare(
            "attention(tokens, pattern, options)",
            Purity::Impure("draws"),
            OnGpu::FETCHED,
            Gradient::Outside,
        )
        .row(
            "draws a pattern [n, m] or [h, n, m]: (tokens, pattern, #{title, keys, name})",
            r#"attention(["a", "b"], tensor([[1.0, 0.0], [0.5, 0.5]]))"#,
            "",
        )
        .function(move |tokens: Dynamic, pattern: Dynamic| {
            own.show(grid::attention(&tokens, &pattern, Map::new()))
        })
        .function(move |tokens: Dynamic, pattern: Dynamic, options: Map| {
            with_options.show(grid::attention(&tokens, &pattern, options))
        });
    let (own, with_options) = (pictures.clone(), pictures.clone());
    registry
        .declare(
            "graph(nodes, edges, options)",
            Purity::Impure("draws"),
            OnGpu::FETCHED,
            Gradient::Outside,
        )
        .row(
            "draws nodes #{id, layer, position, label, value}, the lowest layer at the bottom, and \
            edges #{from, to, weight} between their ids: (nodes, edges, #{title, layers, \
            positions, name}); a node without an id has its index, value is its colour, and \
            layers and positions are the names of 0, 1, …",
            r#"graph([#{id: "a", layer: 0}, #{id: "b", layer: 1}], [#{from: "a", to: "b", weight: 0.5}])"#,
            "",
        )
        .function(move |nodes: Array, edges: Array| {
            own.show(graph::graph(&nodes, &edges, Map::new()))
        })
        .function(move |nodes: Array, edges: Array, options: Map| {
            with_options.show(graph::graph(&nodes, &edges, options))
        });
    let (own, with_options) = (pictures.clone(), pictures.clone());
    registry
        .declare(
            "text(tokens, values, options)",
            Purity::Impure("draws"),
            OnGpu::FETCHED,
            Gradient::Outside,
        )
        .row(
            "draws tokens on the colours of numbers [n], or once for each row of [k, n]: (tokens, \
            values, #{title, labels, name})",
            r#"text(["The", " cat"], tensor([0.1, 2.5]), #{title: "Loss"})"#,
            "",
        )
        .function(move |tokens: Dynamic, values: Dynamic| {
            own.show(grid::tokens(&tokens, &values, Map::new()))
        })
        .function(move |tokens: Dynamic, values: Dynamic, options: Map| {
            with_options.show(grid::tokens(&tokens, &values, options))
        });
    registry
        .declare("note(markdown)", Purity::Impure("prints"), OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "prose between the pictures of the run's page, in Markdown; printed as it is written",
            r#"note("The **last** layer decides.")"#,
            "",
        )
        .function(move |text: &str| -> ScriptResult<()> { Ok(pictures.note(text)?) });
}

/// Where pictures are saved and shown.
#[derive(Clone)]
struct Pictures {
    run: Rc<Run>,
    console: Console,
}

impl Pictures {
    fn show(&self, drawn: Result<Named>) -> ScriptResult<()> {
        Ok(show(&self.run, &self.console, drawn?)?)
    }

    fn note(&self, text: &str) -> Result<()> {
        self.console.line(text);
        self.console.check()?;
        self.run.show(Item::Note(text.to_owned()))
    }
}
