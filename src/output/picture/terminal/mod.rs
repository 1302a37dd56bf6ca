//! The pictures as text.

mod cells;
mod plot;
mod screen;

pub(super) use cells::{attention, heatmap};
pub(super) use plot::line;

#[cfg(test)]
mod tests;
