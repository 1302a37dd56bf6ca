//! `plot`, `heatmap`, `attention`, `graph`: pictures of a script's numbers, drawn in the terminal and saved.

use std::rc::Rc;

use rhai::{Array, Dynamic, Map};

use super::graph::graph;
use super::numbers::{floats, labels, matrix, numbers};
use crate::output::picture::{Attention, Bounds, Heatmap, Kind, LinePlot, Picture, Series};
use crate::output::{Run, picture};
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::run::console::{Console, terminal_width};
use crate::script::value::Handle;
use crate::script::value::options::{Options, describe, float};
use crate::script::value::record;
use crate::system::message;
use crate::{Result, bail, error};

/// Saves the picture, and draws it if standard output is a terminal.
fn show(run: &Run, console: &Console, picture: &Picture, name: Option<String>) -> Result<()> {
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
    Ok(())
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

fn text(options: &Options, name: &str) -> Result<String> {
    Ok(options.string(name)?.map(|text| text.to_string()).unwrap_or_default())
}

fn plot(options: Map) -> Result<(Picture, Option<String>)> {
    let options = Options::new(
        "plot",
        options,
        &["title", "x", "y", "log", "kind", "labels", "xlabel", "ylabel", "name"],
    )?;
    let Some(y) = options.get("y") else {
        return Err(error!("plot needs y").help("as in plot(#{y: losses})"));
    };
    let labels = labels(options.get("labels").as_ref(), "labels")?;
    let mut series: Vec<Series> = match lines(&y)? {
        Lines::Named(named) => named.into_iter().map(|(label, y)| Series { label, y }).collect(),
        Lines::Plain(lines) => {
            lines.into_iter().map(|y| Series { label: String::new(), y }).collect()
        }
    };
    if let Some(labels) = labels {
        if labels.len() != series.len() {
            bail!("plot: there are {} labels for {} series", labels.len(), series.len());
        }
        series.iter_mut().zip(labels).for_each(|(series, label)| series.label = label);
    } else if series.len() > 1 && series.iter().all(|series| series.label.is_empty()) {
        series.iter_mut().enumerate().for_each(|(i, series)| series.label = i.to_string());
    }
    let longest = series.iter().map(|series| series.y.len()).max().unwrap_or(0);
    let x = match options.get("x") {
        Some(x) => numbers(&x, "plot: x")?,
        None => (0..longest).map(|i| i as f64).collect(),
    };
    if let Some(other) = series.iter().find(|series| series.y.len() != x.len()) {
        bail!("plot: x has {} points, and a series of y has {}", x.len(), other.y.len());
    }
    let log = text(&options, "log")?;
    if !["", "x", "y", "xy", "yx"].contains(&log.as_str()) {
        bail!("plot: log must be \"x\", \"y\" or \"xy\", not {log:?}");
    }
    let kind = text(&options, "kind")?;
    let Some((_, kind)) =
        Kind::NAMES.into_iter().find(|(name, _)| kind.is_empty() || *name == kind)
    else {
        let names = Kind::NAMES.map(|(name, _)| format!("{name:?}")).join(" or ");
        bail!("plot: kind must be {names}, not {kind:?}");
    };
    let lost =
        |y: &Series| x.iter().zip(&y.y).filter(|(x, y)| !x.is_finite() || !y.is_finite()).count();
    let lost: usize = series.iter().map(lost).sum();
    if lost > 0 {
        message::notice_once(format_args!(
            "warning: plot: {lost} of {} points are nan or infinite, and are left out",
            x.len() * series.len()
        ));
    }
    let plot = LinePlot {
        title: text(&options, "title")?,
        xlabel: text(&options, "xlabel")?,
        ylabel: text(&options, "ylabel")?,
        x,
        series,
        log_x: log.contains('x'),
        log_y: log.contains('y'),
        kind,
    };
    Ok((Picture::Line(plot), options.string("name")?.map(|name| name.to_string())))
}

enum Lines {
    Plain(Vec<Vec<f64>>),
    Named(Vec<(String, Vec<f64>)>),
}

/// The series in y: one \[n\], several \[s, n\], an array of either, or a map from label to series.
fn lines(y: &Dynamic) -> Result<Lines> {
    if let Some(map) = record::read(y) {
        let named = map.iter().map(|(label, y)| Ok((label.to_string(), numbers(y, "plot: y")?)));
        return Ok(Lines::Named(named.collect::<Result<_>>()?));
    }
    let one = match (y.read_lock::<Handle>(), y.read_lock::<Array>()) {
        (Some(handle), _) => handle.value().rank() == 1,
        (_, Some(list)) => list.iter().all(|value| {
            float(value).is_some()
                || value.read_lock::<Handle>().is_some_and(|handle| handle.value().numel() == 1)
        }),
        _ => true,
    };
    Ok(Lines::Plain(if one { vec![numbers(y, "plot: y")?] } else { matrix(y, "plot: y")? }))
}

fn heatmap(values: &Dynamic, options: Map) -> Result<(Picture, Option<String>)> {
    let options = Options::new(
        "heatmap",
        options,
        &["title", "x", "y", "xlabel", "ylabel", "name", "text", "min", "max"],
    )?;
    let values = matrix(values, "heatmap")?;
    let (rows, columns) = (values.len(), values.first().map_or(0, Vec::len));
    let axis = |name: &str, count: usize| -> Result<Vec<String>> {
        let labels =
            labels(options.get(name).as_ref(), &format!("heatmap: {name}"))?.unwrap_or_default();
        if !labels.is_empty() && labels.len() != count {
            bail!(
                "heatmap: {name} has {} labels for {count} {}",
                labels.len(),
                if name == "x" { "columns" } else { "rows" }
            );
        }
        Ok(labels)
    };
    let heatmap = Heatmap {
        title: text(&options, "title")?,
        xlabel: text(&options, "xlabel")?,
        ylabel: text(&options, "ylabel")?,
        x: axis("x", columns)?,
        y: axis("y", rows)?,
        values,
        text: texts(options.get("text").as_ref())?,
        bounds: Bounds { min: options.float("min")?, max: options.float("max")? },
    };
    Ok((Picture::Heatmap(heatmap), options.string("name")?.map(|name| name.to_string())))
}

/// Rows of strings, from an array of arrays or a tensor \[n, m\] of numbers.
fn texts(value: Option<&Dynamic>) -> Result<Vec<Vec<String>>> {
    let Some(value) = value else { return Ok(vec![]) };
    if value.is::<Handle>() {
        let rows = matrix(value, "heatmap: text")?;
        return Ok(rows
            .into_iter()
            .map(|row| row.into_iter().map(picture::number).collect())
            .collect());
    }
    let Some(rows) = value.read_lock::<Array>() else {
        bail!("heatmap: text must be an array of rows of strings, not {}", describe(value))
    };
    rows.iter()
        .map(|row| Ok(labels(Some(row), "heatmap: a row of text")?.unwrap_or_default()))
        .collect()
}

fn attention(
    tokens: &Dynamic,
    pattern: &Dynamic,
    options: Map,
) -> Result<(Picture, Option<String>)> {
    let options = Options::new("attention", options, &["title", "keys", "name"])?;
    let tokens = labels(Some(tokens), "attention: tokens")?.unwrap_or_default();
    let Some(handle) = pattern.read_lock::<Handle>() else {
        bail!("attention shows a pattern [n, m] or [h, n, m], not {}", describe(pattern))
    };
    let value = handle.value();
    let dims = value.dims();
    let (h, n, m) = match *dims {
        [n, m] => (1, n, m),
        [h, n, m] => (h, n, m),
        _ => {
            return Err(error!("attention shows a pattern [n, m] or [h, n, m], not {dims:?}")
                .help("take one text of the batch, as in pattern[0]"));
        }
    };
    let keys =
        labels(options.get("keys").as_ref(), "attention: keys")?.unwrap_or_else(|| tokens.clone());
    if tokens.len() != n || keys.len() != m {
        bail!(
            "attention: the pattern is {dims:?}, and there are {} tokens and {} keys",
            tokens.len(),
            keys.len()
        );
    }
    let flat = floats(&value, "attention")?;
    let row = |head: usize, query: usize| {
        flat[(head * n + query) * m..(head * n + query + 1) * m].to_vec()
    };
    let heads = (0..h).map(|head| (0..n).map(|query| row(head, query)).collect()).collect();
    let title =
        options.string("title")?.map_or_else(|| "Attention".into(), |title| title.to_string());
    let name = options.string("name")?.map(|name| name.to_string());
    Ok((Picture::Attention(Attention { tokens, keys, heads, title }), name))
}

/// Registers pictures.
pub fn install(registry: &mut Registry, run: &Rc<Run>, console: &Console) {
    let pictures = Pictures { run: run.clone(), console: console.clone() };
    let own = pictures.clone();
    registry
        .declare("plot(options)", Purity::Impure("draws"), OnGpu::FETCHED, Gradient::Outside)
        .row(
            "draws lines: #{y, x, title, log: \"xy\", labels, xlabel, ylabel, kind, name}; y is \
            [n], [s, n] or a map from label to [n]; kind \"scatter\" draws points alone",
            r#"plot(#{title: "Squares", y: [0, 1, 4, 9]})"#,
            "",
        )
        .function(move |options: Map| own.show(plot(options)));
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
        .function(move |values: Dynamic| own.show(heatmap(&values, Map::new())))
        .function(move |values: Dynamic, options: Map| {
            with_options.show(heatmap(&values, options))
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
            own.show(attention(&tokens, &pattern, Map::new()))
        })
        .function(move |tokens: Dynamic, pattern: Dynamic, options: Map| {
            with_options.show(attention(&tokens, &pattern, options))
        });
    let (own, with_options) = (pictures.clone(), pictures);
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
            own.show(graph(&nodes, &edges, Map::new()))
        })
        .function(move |nodes: Array, edges: Array, options: Map| {
            with_options.show(graph(&nodes, &edges, options))
        });
}

/// Where pictures are saved and shown.
#[derive(Clone)]
struct Pictures {
    run: Rc<Run>,
    console: Console,
}

impl Pictures {
    fn show(&self, drawn: Result<(Picture, Option<String>)>) -> ScriptResult<()> {
        let (picture, name) = drawn?;
        Ok(show(&self.run, &self.console, &picture, name)?)
    }
}
