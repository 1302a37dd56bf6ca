//! Graphs: nodes by layer and position, and weighted edges between them.

use serde::Serialize;

use super::colour::Scale;
use super::json_number;
use super::label::of_places;
use super::number::number;
use crate::{Result, bail, error};

/// The most nodes, and the most names of layers or of positions.
const MOST_NODES: usize = 2_000;
const MOST_EDGES: usize = 20_000;
/// The most nodes of one layer and position that stand in one line.
const ABREAST: usize = 4;
/// What is between two layers, and between two positions, in sizes of a node.
const BETWEEN: (f64, f64) = (0.35, 0.9);

/// A graph to be drawn: the lowest layer at the bottom, positions from left to right.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Graph {
    /// The title above the picture; may be empty.
    pub title: String,
    /// The names of layers 0, 1, …, all of which are drawn. Empty: the layers that have nodes are,
    /// under their numbers.
    pub layers: Vec<String>,
    /// The names of positions 0, 1, …, likewise.
    pub positions: Vec<String>,
    /// The nodes. Those of one layer and position stand side by side.
    pub nodes: Vec<Node>,
    /// The edges.
    pub edges: Vec<Edge>,
}

/// A node of a graph.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Node {
    /// What is written on it.
    pub label: String,
    /// The number of its layer; an index into the graph's names of layers, if there are any.
    pub layer: i64,
    /// The number of its position, likewise.
    pub position: i64,
    /// A number that is shown as its colour.
    #[serde(serialize_with = "json_number::serialize")]
    pub value: Option<f64>,
}

/// An edge of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Edge {
    /// The index of the node that it leaves.
    pub from: usize,
    /// The index of the node that it enters.
    pub to: usize,
    /// Its weight: the size is shown as the line's width, the sign as its colour.
    #[serde(serialize_with = "json_number::serialize")]
    pub weight: f64,
}

/// Where things stand, in sizes of a node: from the left, and from the top.
pub(super) struct Places {
    /// The middle of each node.
    pub nodes: Vec<(f64, f64)>,
    /// The names of positions, each with the middle of its column.
    pub columns: Vec<(String, f64)>,
    /// The names of layers, each with the middle of its row.
    pub rows: Vec<(String, f64)>,
    /// Width and height of all of them.
    pub size: (f64, f64),
}

impl Graph {
    /// Checks that the graph can be drawn.
    ///
    /// # Errors
    /// No nodes, or more than can be told apart; an edge to a node that there is not, or whose weight
    /// is not finite; a layer or position without a name where others have one.
    pub fn validate(&self) -> Result<()> {
        if self.nodes.is_empty() {
            bail!("a graph needs at least one node");
        }
        let sizes = [
            ("nodes", self.nodes.len(), MOST_NODES),
            ("edges", self.edges.len(), MOST_EDGES),
            ("names of layers", self.layers.len(), MOST_NODES),
            ("names of positions", self.positions.len(), MOST_NODES),
        ];
        for (what, count, most) in sizes {
            if count > most {
                return Err(error!("a graph of {count} {what} can't be drawn: {most} is the most")
                    .help("keep the strongest"));
            }
        }
        for (i, edge) in self.edges.iter().enumerate() {
            if let Some(end) = [edge.from, edge.to].into_iter().find(|end| *end >= self.nodes.len())
            {
                bail!("edge {i} has node {end} at an end, and there are {}", self.nodes.len());
            }
            if !edge.weight.is_finite() {
                bail!("edge {i} weighs {}: a weight is a finite number", number(edge.weight));
            }
        }
        for node in &self.nodes {
            let named =
                [("layer", node.layer, &self.layers), ("position", node.position, &self.positions)];
            for (what, at, names) in named {
                if !names.is_empty() && usize::try_from(at).map_or(true, |at| at >= names.len()) {
                    let count = names.len();
                    bail!(
                        "a node is at {what} {at}, and the graph names {what}s 0 to {}",
                        count - 1
                    );
                }
            }
        }
        Ok(())
    }

    /// Where nodes and names stand.
    pub(super) fn places(&self) -> Places {
        let rows = Lines::of(self.nodes.iter().map(|node| node.layer), &self.layers);
        let columns = Lines::of(self.nodes.iter().map(|node| node.position), &self.positions);
        let at: Vec<(usize, usize)> = self
            .nodes
            .iter()
            .map(|node| (rows.index(node.layer), columns.index(node.position)))
            .collect();
        // How many nodes each cell has.
        let mut cells = vec![vec![0usize; columns.names.len()]; rows.names.len()];
        at.iter().for_each(|&(row, column)| cells[row][column] += 1);
        let tallest = cells.iter().map(|row| row.iter().map(|&n| lines(n)).max().unwrap_or(0));
        let widest = (0..columns.names.len())
            .map(|column| cells.iter().map(|row| abreast(row[column])).max().unwrap_or(0));
        // From the bottom up, which is turned below.
        let (heights, height) = spread(tallest, BETWEEN.1);
        let (widths, width) = spread(widest, BETWEEN.0);

        let mut seen = vec![vec![0usize; columns.names.len()]; rows.names.len()];
        let place = |&(row, column): &(usize, usize)| {
            let (nth, of) = (seen[row][column], cells[row][column]);
            seen[row][column] += 1;
            let (line, in_line) = (nth / abreast(of), nth % abreast(of));
            let of_line = (of - line * abreast(of)).min(abreast(of));
            let centred = |i: usize, count: usize| i as f64 - (count - 1) as f64 / 2.0;
            let x = widths[column] + centred(in_line, of_line);
            let y = height - heights[row] + centred(line, lines(of));
            (x, y)
        };
        Places {
            nodes: at.iter().map(place).collect(),
            rows: rows.names.into_iter().zip(heights.iter().map(|at| height - at)).collect(),
            columns: columns.names.into_iter().zip(widths.iter().copied()).collect(),
            size: (width, height),
        }
    }

    /// The edges, the weakest first, each with its share of the largest weight, -1 to 1.
    pub(super) fn by_weight(&self) -> Vec<(Edge, f64)> {
        let most = self.edges.iter().map(|edge| edge.weight.abs()).fold(0.0, f64::max);
        let share = |edge: &Edge| if most > 0.0 { edge.weight / most } else { 0.0 };
        let mut edges: Vec<(Edge, f64)> =
            self.edges.iter().map(|edge| (*edge, share(edge))).collect();
        edges.sort_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
        edges
    }

    /// The colours of the nodes' values, if they have any.
    pub(super) fn scale(&self) -> Result<Option<Scale>> {
        let values: Vec<f64> = self.nodes.iter().filter_map(|node| node.value).collect();
        if values.is_empty() { Ok(None) } else { Scale::of(values).map(Some) }
    }

    /// The labels of the nodes.
    pub(super) fn labels(&self) -> Vec<String> {
        let labels: Vec<String> = self.nodes.iter().map(|node| node.label.clone()).collect();
        of_places(&labels, labels.len())
    }
}

/// The layers, or the positions, that are drawn.
struct Lines {
    numbers: Vec<i64>,
    names: Vec<String>,
}

impl Lines {
    fn of(used: impl Iterator<Item = i64>, names: &[String]) -> Self {
        if !names.is_empty() {
            let numbers = (0..names.len() as i64).collect();
            return Self { numbers, names: of_places(names, names.len()) };
        }
        let mut numbers: Vec<i64> = used.collect();
        numbers.sort_unstable();
        numbers.dedup();
        let names = numbers.iter().map(i64::to_string).collect();
        Self { numbers, names }
    }

    fn index(&self, number: i64) -> usize {
        self.numbers.binary_search(&number).unwrap_or(0)
    }
}

/// How many of a cell's nodes stand side by side.
fn abreast(nodes: usize) -> usize {
    if nodes <= ABREAST { nodes } else { ABREAST.max((nodes as f64).sqrt().ceil() as usize) }
}

/// In how many lines a cell's nodes stand.
fn lines(nodes: usize) -> usize {
    if nodes == 0 { 0 } else { nodes.div_ceil(abreast(nodes)) }
}

/// The middles of stripes of these sizes, an empty one being as wide as one of a node, and where
/// they end.
fn spread(sizes: impl Iterator<Item = usize>, between: f64) -> (Vec<f64>, f64) {
    let mut end = 0.0;
    let middles = sizes
        .map(|size| {
            let size = size.max(1) as f64 + between;
            end += size;
            end - size / 2.0
        })
        .collect();
    (middles, end)
}

#[cfg(all(test, feature = "plots"))]
mod tests {
    use super::super::graphic::canvas::Draw;
    use super::*;
    use crate::output::picture::Picture;

    fn node(label: &str, layer: i64, position: i64) -> Node {
        Node { label: label.into(), layer, position, value: None }
    }

    fn graph() -> Graph {
        Graph {
            title: "Who gets it".into(),
            positions: vec!["A".into(), " gave".into()],
            nodes: vec![node("in", 0, 0), node("f1", 3, 0), node("f2", 3, 1), node("out", 7, 1)],
            edges: vec![
                Edge { from: 0, to: 1, weight: 0.5 },
                Edge { from: 1, to: 3, weight: -2.0 },
                Edge { from: 2, to: 3, weight: 1.0 },
            ],
            ..Graph::default()
        }
    }

    #[test]
    fn nodes_stand_by_layer_and_position() {
        let places = graph().places();
        let [input, left, right, out] = places.nodes[..] else { panic!() };
        assert!(input.0 == left.0 && right.0 == out.0 && left.0 < right.0);
        assert!(
            input.1 > left.1 && left.1 == right.1 && right.1 > out.1,
            "the lowest layer is below"
        );
        let names =
            |of: &[(String, f64)]| of.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&places.columns), ["A", "·gave"]);
        assert_eq!(names(&places.rows), ["0", "3", "7"], "layers without nodes take no room");

        // No two of many nodes in one cell have one place.
        let many = Graph { nodes: vec![node("", 0, 0); 30], ..Graph::default() };
        let mut places: Vec<_> = many.places().nodes.iter().map(|at| format!("{at:?}")).collect();
        places.sort();
        places.dedup();
        assert_eq!(places.len(), 30);
    }

    #[test]
    fn svg_has_nodes_and_edges_by_weight() {
        let mut graph = graph();
        graph.nodes[1].value = Some(0.0);
        graph.nodes[2].value = Some(3.0);
        let svg = Picture::Graph(graph).svg().unwrap();
        for text in ["Who gets it", "in", "f1", "f2", "out", "·gave", "7", "-2"] {
            assert!(svg.lines().any(|line| line == text), "{text} in {svg}");
        }
        // The strongest edge is the widest, in the colour of its sign.
        let lines: Vec<&str> = svg.lines().filter(|line| line.starts_with("<polyline")).collect();
        let of = |colour: &str, width: u32| {
            let width = format!("stroke-width=\"{width}\"");
            lines.iter().any(|line| line.contains(colour) && line.contains(&width))
        };
        assert!(of("#053061", 6) && !of("#67001F", 6), "{lines:?}");
    }

    #[test]
    fn a_terminal_shows_lines_names_and_the_strongest_edges() {
        let text = Picture::Graph(graph()).terminal(60, false).unwrap();
        let row = |word: &str| text.lines().position(|line| line.contains(word)).unwrap();
        assert!(
            row("out") < row("f1") && row("f1") == row("f2") && row("f2") < row(" in"),
            "{text}"
        );
        let drawn = text
            .lines()
            .take(row(" in"))
            .filter(|line| line.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)));
        assert!(drawn.count() >= 4, "{text}");
        assert!(
            row("f1 → out  -2") < row("f2 → out  1") && row("f2 → out  1") < row("in → f1  0.5"),
            "{text}"
        );
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn any_graph_is_drawn_in_bounded_room() {
        let far = |i: i64| node("a long name", i * 1_000_000_007, -i * 1_000_000_007);
        let graphs = [
            Graph { nodes: vec![node("", i64::MIN, i64::MAX)], ..Graph::default() },
            Graph { nodes: (0..300).map(far).collect(), ..Graph::default() },
            Graph {
                nodes: vec![node("中文", 0, 0); 2000],
                edges: (0..200).map(|i| Edge { from: i, to: 1999 - i, weight: 1e308 }).collect(),
                ..Graph::default()
            },
            Graph {
                layers: vec!["l".into(); 2000],
                nodes: vec![node("n", 1999, 0)],
                ..Graph::default()
            },
        ];
        assert!(Picture::Graph(graphs[0].clone()).png().is_ok());
        for graph in graphs {
            let (width, height) = super::super::graphic::graph::Layout::new(&graph).unwrap().size();
            assert!(width < 3000 && height < 3300, "{width} x {height}");
            let picture = Picture::Graph(graph);
            assert!(picture.svg().unwrap().len() < 2_000_000);
            for width in [0, 10, 79] {
                let text = picture.terminal(width, false).unwrap();
                let widest = text.lines().map(super::super::label::width).max().unwrap_or(0);
                assert!(widest <= width && text.lines().count() < 120, "{width}\n{text}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let message = |graph: Graph| Picture::Graph(graph).svg().unwrap_err().message().to_owned();
        assert_eq!(message(Graph::default()), "a graph needs at least one node");
        let with = |edge| Graph { edges: vec![edge], ..graph() };
        assert_eq!(
            message(with(Edge { from: 0, to: 4, weight: 1.0 })),
            "edge 0 has node 4 at an end, and there are 4"
        );
        assert_eq!(
            message(with(Edge { from: 0, to: 1, weight: f64::NAN })),
            "edge 0 weighs nan: a weight is a finite number"
        );
        let mut outside = graph();
        outside.nodes[3].position = 2;
        assert_eq!(
            message(outside),
            "a node is at position 2, and the graph names positions 0 to 1"
        );
        let many = Graph { nodes: vec![node("", 0, 0); 2001], ..Graph::default() };
        assert_eq!(message(many), "a graph of 2001 nodes can't be drawn: 2000 is the most");
    }
}
