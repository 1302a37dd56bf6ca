//! The nodes and edges of a script's graph, read from its maps.

use std::collections::BTreeMap;

use rhai::{Array, Dynamic, Map};

use super::super::numbers::{labels, number};
use super::Named;
use crate::output::picture::{Edge, Graph, Node, Picture};
use crate::script::value::options::{Options, describe};
use crate::script::value::record;
use crate::{Result, bail, did_you_mean, error};

/// The graph of `nodes` and `edges`, and the name of its file, if it has one.
///
/// # Errors
/// A node or edge that is no map of the known keys, two nodes of one id, an edge to an id that no node
/// has, or an unknown option.
pub(super) fn graph(nodes: &Array, edges: &Array, options: Map) -> Result<Named> {
    let options = Options::new("graph", options, &["title", "layers", "positions", "name"])?;
    let names = |name: &str| -> Result<Vec<String>> {
        let what = format!("graph: {name}");
        Ok(labels(options.get(name).as_ref(), &what)?.unwrap_or_default())
    };
    let mut indices = BTreeMap::new();
    let mut drawn = vec![];
    for (i, given) in nodes.iter().enumerate() {
        let (id, node) = node(given, i)?;
        if let Some(other) = indices.insert(id.clone(), i) {
            bail!("graph: nodes {other} and {i} have the same id, {id}");
        }
        drawn.push(node);
    }
    let text = |name| Ok::<_, crate::Error>(options.string(name)?.map(|text| text.to_string()));
    let graph = Graph {
        title: text("title")?.unwrap_or_default(),
        layers: names("layers")?,
        positions: names("positions")?,
        nodes: drawn,
        edges: edges
            .iter()
            .enumerate()
            .map(|(i, given)| edge(given, i, &indices))
            .collect::<Result<_>>()?,
    };
    Ok((Picture::Graph(graph), text("name")?))
}

/// A node with its id: the `i`th, if it says no other.
fn node(given: &Dynamic, i: usize) -> Result<(String, Node)> {
    let keys = ["id", "layer", "position", "label", "value"];
    let given = part(given, "a node of graph", i, &keys)?;
    let id = given.get("id").map(|id| id.to_string());
    let node = Node {
        label: given.get("label").map(|label| label.to_string()).or(id.clone()).unwrap_or_default(),
        layer: given.int("layer")?.ok_or_else(|| error!("graph: node {i} says no layer"))?,
        position: given.int("position")?.unwrap_or_default(),
        value: value(&given, "value")?,
    };
    Ok((id.unwrap_or_else(|| i.to_string()), node))
}

fn edge(given: &Dynamic, i: usize, indices: &BTreeMap<String, usize>) -> Result<Edge> {
    let given = part(given, "an edge of graph", i, &["from", "to", "weight"])?;
    let end = |name: &str| {
        let Some(id) = given.get(name).map(|id| id.to_string()) else {
            bail!("graph: edge {i} has no {name}: an edge is #{{from, to, weight}}");
        };
        indices.get(&id).copied().ok_or_else(|| {
            let error = error!("graph: edge {i} has {id} at an end, and no node has that id");
            match did_you_mean(&id, indices.keys().map(String::as_str)) {
                Some(help) => error.help(help),
                None => error,
            }
        })
    };
    Ok(Edge { from: end("from")?, to: end("to")?, weight: value(&given, "weight")?.unwrap_or(1.0) })
}

/// A map of a list, whose keys are known.
fn part(given: &Dynamic, what: &'static str, i: usize, keys: &[&str]) -> Result<Options> {
    match record::read(given) {
        Some(map) => Options::new(what, map.clone(), keys),
        None => bail!("graph: {what} is a map, and number {i} is {}", describe(given)),
    }
}

fn value(given: &Options, name: &str) -> Result<Option<f64>> {
    let Some(value) = given.get(name) else { return Ok(None) };
    match number(&value) {
        Some(number) => Ok(Some(number)),
        None => bail!("graph: {name} must be a number, not {}", describe(&value)),
    }
}
