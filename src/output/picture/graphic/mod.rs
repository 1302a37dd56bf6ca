//! Pictures as SVG and as PNG: their layout, and the surface that they are drawn on.

pub(super) mod attention;
pub(super) mod bars;
pub(super) mod boxes;
pub(super) mod canvas;
mod frame;
pub(super) mod graph;
pub(super) mod heatmap;
pub(super) mod line;
pub(super) mod text;
