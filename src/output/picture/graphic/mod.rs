//! Pictures as SVG and as PNG: their layout, and the surface that they are drawn on.

pub(super) mod attention;
pub(super) mod canvas;
pub(super) mod graph;
pub(super) mod heatmap;
pub(super) mod line;
