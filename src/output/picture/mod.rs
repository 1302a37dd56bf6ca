//! Pictures of numbers: line plots, heatmaps and attention patterns, as SVG, as PNG and as text for
//! a terminal.

mod attention;
mod axis;
mod canvas;
mod colour;
mod heatmap;
mod label;
mod line;
mod number;
pub mod table;
mod terminal;

pub use attention::Attention;
pub use colour::Bounds;
pub use heatmap::Heatmap;
pub use line::{LinePlot, Series};
pub use number::{digits, fixed, number};
pub use terminal::sparkline;

use crate::Result;

/// Anything that can be drawn.
#[derive(Debug, Clone, PartialEq)]
pub enum Picture {
    Line(LinePlot),
    Heatmap(Heatmap),
    Attention(Attention),
}

impl Picture {
    /// The picture as an SVG document. Fails with a sentence where there is nothing to draw, as do
    /// the others.
    pub fn svg(&self) -> Result<String> {
        match self {
            Self::Line(plot) => canvas::svg(&line::Layout::new(plot)?),
            Self::Heatmap(heatmap) => canvas::svg(&heatmap::Layout::new(heatmap)?),
            Self::Attention(attention) => canvas::svg(&attention::Layout::new(attention)?),
        }
    }

    /// The picture as the bytes of a PNG, two pixels to each unit of the SVG.
    pub fn png(&self) -> Result<Vec<u8>> {
        match self {
            Self::Line(plot) => canvas::png(&line::Layout::new(plot)?),
            Self::Heatmap(heatmap) => canvas::png(&heatmap::Layout::new(heatmap)?),
            Self::Attention(attention) => canvas::png(&attention::Layout::new(attention)?),
        }
    }

    /// The picture as lines of at most `width` columns; only with `colour` are there ANSI escapes
    /// in them.
    pub fn terminal(&self, width: usize, colour: bool) -> Result<String> {
        match self {
            Self::Line(plot) => terminal::line(plot, width, colour),
            Self::Heatmap(heatmap) => terminal::heatmap(heatmap, width, colour),
            Self::Attention(attention) => terminal::attention(attention, width, colour),
        }
    }

    pub fn title(&self) -> &str {
        match self {
            Self::Line(plot) => &plot.title,
            Self::Heatmap(heatmap) => &heatmap.title,
            Self::Attention(attention) => &attention.title,
        }
    }
}
