//! Pictures of numbers, as SVG, PNG, text for a terminal or JSON for a page: plots, heatmaps,
//! attention patterns, coloured tokens and graphs; and tables as text.
//!
//! A [`Picture`] is the one description that all of them are drawn from. Its JSON is a map whose
//! `picture` names the variant and whose other keys are the variant's fields.

mod attention;
mod axis;
mod bars;
mod boxes;
mod colour;
mod graph;
#[cfg(feature = "plots")]
mod graphic;
mod heatmap;
mod json_number;
mod label;
mod line;
mod number;
pub mod table;
mod terminal;
mod text;

pub use attention::Attention;
pub use bars::{Bars, MOST_BINS};
pub use boxes::{Boxes, Summary};
pub use colour::Bounds;
pub use graph::{Edge, Graph, Node};
pub use heatmap::Heatmap;
pub use line::{Kind, LinePlot, Series};
pub use number::{digits, fixed, number};
pub use terminal::sparkline;
pub use text::Text;

use std::borrow::Cow;

use serde::Serialize;

use crate::Result;
#[cfg(feature = "plots")]
use graphic::canvas;
#[cfg(feature = "plots")]
use label::visible;

/// What is said where a picture would be drawn by a build that can't.
#[cfg(not(feature = "plots"))]
const NO_PICTURES: &str = "this build draws no pictures: it was built without the feature plots";

/// The most points of a plot that are drawn.
const MOST_POINTS: usize = 40_000;

/// A picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "picture", rename_all = "lowercase")]
pub enum Picture {
    /// Lines or points over a common x axis.
    Line(LinePlot),
    /// Bars by name, or a histogram.
    Bars(Bars),
    /// Box plots.
    Boxes(Boxes),
    /// A grid of values as colours.
    Heatmap(Heatmap),
    /// Attention patterns, head by head.
    Attention(Attention),
    /// Nodes by layer and position, and edges between them.
    Graph(Graph),
    /// Coloured tokens.
    Text(Text),
}

impl Picture {
    /// The picture as an SVG document.
    ///
    /// # Errors
    /// There is nothing to draw, or labels do not fit the data; or this build has no pictures.
    #[cfg(feature = "plots")]
    pub fn svg(&self) -> Result<String> {
        let drawn = match self.thinned().as_ref() {
            Self::Line(plot) => canvas::svg(&graphic::line::Layout::new(plot)?),
            Self::Bars(bars) => canvas::svg(&graphic::bars::Layout::new(bars)?),
            Self::Boxes(boxes) => canvas::svg(&graphic::boxes::Layout::new(boxes)?),
            Self::Heatmap(heatmap) => canvas::svg(&graphic::heatmap::Layout::new(heatmap)?),
            Self::Attention(attention) => canvas::svg(&graphic::attention::Layout::new(attention)?),
            Self::Graph(graph) => canvas::svg(&graphic::graph::Layout::new(graph)?),
            Self::Text(text) => canvas::svg(&graphic::text::Layout::new(text)?),
        }?;
        Ok(self.named(drawn))
    }

    /// An SVG document with a title and a description, which screen readers read.
    #[cfg(feature = "plots")]
    fn named(&self, svg: String) -> String {
        let escaped = |text: &str| {
            visible(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
        };
        let Some((before, after)) = svg.split_once('\n') else { return svg };
        let (title, about) = (escaped(self.title()), escaped(&self.describe()));
        format!("{before}\n<title>{title}</title>\n<desc>{about}</desc>\n{after}")
    }

    /// The picture as a PNG file, with two pixels per unit of the SVG.
    ///
    /// # Errors
    /// As for [`svg`](Self::svg).
    #[cfg(feature = "plots")]
    pub fn png(&self) -> Result<Vec<u8>> {
        match self.thinned().as_ref() {
            Self::Line(plot) => canvas::png(&graphic::line::Layout::new(plot)?),
            Self::Bars(bars) => canvas::png(&graphic::bars::Layout::new(bars)?),
            Self::Boxes(boxes) => canvas::png(&graphic::boxes::Layout::new(boxes)?),
            Self::Heatmap(heatmap) => canvas::png(&graphic::heatmap::Layout::new(heatmap)?),
            Self::Attention(attention) => canvas::png(&graphic::attention::Layout::new(attention)?),
            Self::Graph(graph) => canvas::png(&graphic::graph::Layout::new(graph)?),
            Self::Text(text) => canvas::png(&graphic::text::Layout::new(text)?),
        }
    }

    /// Refuses: this build has no pictures.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "plots"))]
    pub fn svg(&self) -> Result<String> {
        Err(crate::Error::new(NO_PICTURES))
    }

    /// Refuses: this build has no pictures.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "plots"))]
    pub fn png(&self) -> Result<Vec<u8>> {
        Err(crate::Error::new(NO_PICTURES))
    }

    /// The picture as lines of text, at most `width` columns wide. They contain ANSI escapes only
    /// if `colour`.
    ///
    /// # Errors
    /// As for [`svg`](Self::svg).
    pub fn terminal(&self, width: usize, colour: bool) -> Result<String> {
        match self {
            Self::Line(plot) => terminal::line(plot, width, colour),
            Self::Bars(bars) => terminal::bars(bars, width, colour),
            Self::Boxes(boxes) => terminal::boxes(boxes, width, colour),
            Self::Heatmap(heatmap) => terminal::heatmap(heatmap, width, colour),
            Self::Attention(attention) => terminal::attention(attention, width, colour),
            Self::Graph(graph) => terminal::graph(graph, width, colour),
            Self::Text(text) => terminal::text(text, width, colour),
        }
    }

    /// The picture's title; may be empty.
    pub fn title(&self) -> &str {
        match self {
            Self::Line(plot) => &plot.title,
            Self::Bars(bars) => &bars.title,
            Self::Boxes(boxes) => &boxes.title,
            Self::Heatmap(heatmap) => &heatmap.title,
            Self::Attention(attention) => &attention.title,
            Self::Graph(graph) => &graph.title,
            Self::Text(text) => &text.title,
        }
    }

    /// What the picture is, in a sentence: for who can't see it.
    pub fn describe(&self) -> String {
        let many = |count: usize, one: &str, many: &str| match count {
            1 => format!("1 {one}"),
            count => format!("{count} {many}"),
        };
        match self {
            Self::Line(plot) => format!(
                "{} of {} over {}.",
                if plot.kind == Kind::Line { "A line plot" } else { "A scatter plot" },
                many(plot.series.len(), "series", "series"),
                many(plot.x.len(), "point", "points")
            ),
            Self::Bars(bars) => format!(
                "{} of {} with {}.",
                if bars.edges.is_empty() { "A bar chart" } else { "A histogram" },
                many(bars.series.len(), "series", "series"),
                many(bars.count(), "bar", "bars")
            ),
            Self::Boxes(boxes) => {
                format!("A box plot of {}.", many(boxes.boxes.len(), "box", "boxes"))
            }
            Self::Heatmap(heatmap) => format!(
                "A heatmap of {} and {}.",
                many(heatmap.values.len(), "row", "rows"),
                many(heatmap.values.first().map_or(0, Vec::len), "column", "columns")
            ),
            Self::Attention(attention) => {
                let head = attention.heads.first();
                format!(
                    "Attention of {} from {} to {}.",
                    many(attention.heads.len(), "head", "heads"),
                    many(head.map_or(0, Vec::len), "token", "tokens"),
                    many(head.and_then(|rows| rows.first()).map_or(0, Vec::len), "token", "tokens")
                )
            }
            Self::Graph(graph) => format!(
                "A graph of {} and {}.",
                many(graph.nodes.len(), "node", "nodes"),
                many(graph.edges.len(), "edge", "edges")
            ),
            Self::Text(text) => format!(
                "{}, coloured by {} of numbers.",
                many(text.tokens.len(), "token", "tokens"),
                many(text.values.len(), "row", "rows")
            ),
        }
    }

    /// How many numbers it is made of.
    pub fn size(&self) -> usize {
        match self {
            Self::Line(plot) => plot.x.len() * (1 + plot.series.len()),
            Self::Bars(bars) => bars.series.iter().map(|series| series.y.len()).sum(),
            Self::Boxes(boxes) => boxes.boxes.iter().map(|of| 6 + of.outliers.len()).sum(),
            Self::Heatmap(heatmap) => heatmap.values.iter().map(Vec::len).sum(),
            Self::Attention(attention) => attention.heads.iter().flatten().map(Vec::len).sum(),
            Self::Text(text) => text.values.iter().map(Vec::len).sum(),
            Self::Graph(graph) => 4 * (graph.nodes.len() + graph.edges.len()),
        }
    }

    /// The same picture with no more points than can be seen: of a longer line or cloud those stay that are the least or the greatest of their neighbourhood.
    pub fn thinned(&self) -> Cow<'_, Self> {
        match self {
            Self::Line(plot) if plot.x.len() * plot.series.len() > MOST_POINTS => {
                Cow::Owned(Self::Line(plot.thinned(MOST_POINTS)))
            }
            _ => Cow::Borrowed(self),
        }
    }
}
