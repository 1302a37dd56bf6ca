//! Graphs as text: edges as lines of dots, nodes by their labels, and the strongest edges in words.

use ratatui_core::style::{Color, Style};
use ratatui_core::symbols::Marker;
use ratatui_widgets::canvas::{Canvas, Line};

use super::screen::{Screen, WIDTHS, rgb};
use crate::Result;
use crate::output::picture::colour::{of_share, readable_on};
use crate::output::picture::graph::Graph;
use crate::output::picture::label::{all_trimmed, trimmed, visible, width as columns_of};
use crate::output::picture::number;

/// The tallest area of nodes.
const TALLEST: usize = 64;
/// Rows of characters for each row of nodes.
const ROWS: f64 = 3.0;
/// How many edges are named.
const NAMED: usize = 8;

/// The graph as lines of at most `width` columns.
///
/// # Errors
/// As for [`Graph::validate`].
pub(in super::super) fn graph(graph: &Graph, width: usize, colour: bool) -> Result<String> {
    graph.validate()?;
    let scale = graph.scale()?;
    let columns = width.clamp(WIDTHS.0, WIDTHS.1);
    let places = graph.places();
    let rows: Vec<String> = places.rows.iter().map(|(name, _)| name.clone()).collect();
    let rows = all_trimmed(&rows, columns / 4);
    let left = rows.iter().map(|name| columns_of(name)).max().unwrap_or(0) + 1;
    let (across, down) = places.size;
    let height = ((down * ROWS).ceil() as usize).clamp(1, TALLEST);
    let unit = ((columns - left) as f64 / across, height as f64 / down);
    let at = |(x, y): (f64, f64)| (left as f64 + x * unit.0, y * unit.1);

    let edges = graph.by_weight();
    let named = usize::from(!graph.title.is_empty());
    let below = named + height;
    let mut screen = Screen::new(columns, below + 1 + NAMED + 1);
    screen.centred((0, columns), 0, &trimmed(&visible(&graph.title), columns), Style::new());
    let lines = Canvas::default()
        .marker(Marker::Braille)
        .x_bounds([0.0, columns as f64])
        .y_bounds([-(height as f64), 0.0])
        .paint(|context| {
            for (edge, share) in &edges {
                let [(x1, y1), (x2, y2)] = [edge.from, edge.to].map(|node| at(places.nodes[node]));
                let color = if colour { rgb(of_share(*share)) } else { Color::Reset };
                context.draw(&Line { x1, y1: -y1, x2, y2: -y2, color });
            }
        });
    screen.widget(lines, named, height);

    let labels = graph.labels();
    let room = ((unit.0 - 1.0).max(1.0) as usize).min(14);
    for (i, label) in all_trimmed(&labels, room).iter().enumerate() {
        let (x, y) = at(places.nodes[i]);
        let from = (x - columns_of(label) as f64 / 2.0).round().max(left as f64) as usize;
        let style = match (graph.nodes[i].value, &scale) {
            (Some(value), Some(scale)) if colour => {
                let ground = scale.colour(value);
                Style::new().bg(rgb(ground)).fg(rgb(readable_on(ground)))
            }
            _ => Style::new(),
        };
        screen.text(from, named + (y as usize).min(height - 1), label, style);
    }
    for (name, (_, y)) in rows.iter().zip(&places.rows) {
        let row = ((y * unit.1) as usize).min(height - 1);
        screen.text(left - 1 - columns_of(name), named + row, name, Style::new());
    }
    let names: Vec<String> = places.columns.iter().map(|(name, _)| name.clone()).collect();
    let room = ((columns - left) as f64 / names.len() as f64 - 1.0).max(1.0) as usize;
    for (name, (_, x)) in all_trimmed(&names, room).iter().zip(&places.columns) {
        let x = left as f64 + x * unit.0 - columns_of(name) as f64 / 2.0;
        screen.text(x.round().max(left as f64) as usize, below, name, Style::new());
    }
    for (row, (edge, share)) in edges.iter().rev().take(NAMED).enumerate() {
        let [from, to] = [edge.from, edge.to].map(|node| &labels[node]);
        let text = format!("  {from} → {to}  {}", number(edge.weight));
        let style = if colour { Style::new().fg(rgb(of_share(*share))) } else { Style::new() };
        screen.text(0, below + 1 + row, &trimmed(&text, columns), style);
    }
    Ok(screen.lines(width, colour))
}
