//! Pictures of numbers, as SVG, PNG or text for a terminal: line plots, heatmaps, attention patterns
//! and graphs; and tables as text.

mod attention;
mod axis;
mod colour;
mod graph;
#[cfg(feature = "plots")]
mod graphic;
mod heatmap;
mod label;
mod line;
mod number;
pub mod table;
mod terminal;

pub use attention::Attention;
pub use colour::Bounds;
pub use graph::{Edge, Graph, Node};
pub use heatmap::Heatmap;
pub use line::{Kind, LinePlot, Series};
pub use number::{digits, fixed, number};
pub use terminal::sparkline;

use crate::Result;
#[cfg(feature = "plots")]
use graphic::canvas;

/// What is said where a picture would be drawn by a build that can't.
#[cfg(not(feature = "plots"))]
const NO_PICTURES: &str = "this build draws no pictures: it was built without the feature plots";

/// A picture.
#[derive(Debug, Clone, PartialEq)]
pub enum Picture {
    /// Lines or points over a common x axis.
    Line(LinePlot),
    /// A grid of values as colours.
    Heatmap(Heatmap),
    /// Attention patterns, head by head.
    Attention(Attention),
    /// Nodes by layer and position, and edges between them.
    Graph(Graph),
}

impl Picture {
    /// The picture as an SVG document.
    ///
    /// # Errors
    /// There is nothing to draw, or labels do not fit the data; or this build has no pictures.
    #[cfg(feature = "plots")]
    pub fn svg(&self) -> Result<String> {
        match self {
            Self::Line(plot) => canvas::svg(&graphic::line::Layout::new(plot)?),
            Self::Heatmap(heatmap) => canvas::svg(&graphic::heatmap::Layout::new(heatmap)?),
            Self::Attention(attention) => canvas::svg(&graphic::attention::Layout::new(attention)?),
            Self::Graph(graph) => canvas::svg(&graphic::graph::Layout::new(graph)?),
        }
    }

    /// The picture as a PNG file, with two pixels per unit of the SVG.
    ///
    /// # Errors
    /// As for [`svg`](Self::svg).
    #[cfg(feature = "plots")]
    pub fn png(&self) -> Result<Vec<u8>> {
        match self {
            Self::Line(plot) => canvas::png(&graphic::line::Layout::new(plot)?),
            Self::Heatmap(heatmap) => canvas::png(&graphic::heatmap::Layout::new(heatmap)?),
            Self::Attention(attention) => canvas::png(&graphic::attention::Layout::new(attention)?),
            Self::Graph(graph) => canvas::png(&graphic::graph::Layout::new(graph)?),
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
            Self::Heatmap(heatmap) => terminal::heatmap(heatmap, width, colour),
            Self::Attention(attention) => terminal::attention(attention, width, colour),
            Self::Graph(graph) => terminal::graph(graph, width, colour),
        }
    }

    /// The picture's title; may be empty.
    pub fn title(&self) -> &str {
        match self {
            Self::Line(plot) => &plot.title,
            Self::Heatmap(heatmap) => &heatmap.title,
            Self::Attention(attention) => &attention.title,
            Self::Graph(graph) => &graph.title,
        }
    }
}
