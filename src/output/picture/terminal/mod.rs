//! Pictures as text for a terminal.

mod cells;
mod graph;
mod plot;
mod screen;
mod sparkline;

pub(super) use cells::{attention, heatmap};
pub(super) use graph::graph;
pub(super) use plot::line;
pub use sparkline::sparkline;

#[cfg(test)]
mod tests;
