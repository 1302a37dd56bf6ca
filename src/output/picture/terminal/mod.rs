//! Pictures as text for a terminal.

mod bars;
mod cells;
mod graph;
mod plot;
mod screen;
mod sparkline;
mod text;

pub(super) use bars::{bars, boxes};
pub(super) use cells::{attention, heatmap};
pub(super) use graph::graph;
pub(super) use plot::line;
pub use sparkline::sparkline;
pub(super) use text::text;

#[cfg(test)]
mod tests;
