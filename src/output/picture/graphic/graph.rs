//! Graphs, laid out and drawn.

use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Canvas, Draw, Type};
use super::heatmap::bar;
use crate::Result;
use crate::output::picture::colour::{
    FAINT, FRAME, GRID, INK, MINOR, Scale, of_share, readable_on,
};
use crate::output::picture::graph::{Graph, Places};
use crate::output::picture::label::{all_trimmed, trimmed, visible};
use crate::output::picture::number;

const TICK: f64 = 13.0;
/// The widest and the tallest area of nodes, in units.
const MOST: (f64, f64) = (2400.0, 3000.0);
/// The height of a node and of the room that it has.
const NODE: (f64, f64) = (20.0, 40.0);
/// The room at the right, which explains colours and widths.
const KEY: i32 = 130;
/// Of how many pieces a curve is made.
const PIECES: usize = 12;

/// A graph with its places in units, ready to be drawn.
pub(in crate::output::picture) struct Layout<'a> {
    graph: &'a Graph,
    places: Places,
    /// What is written on nodes; empty where there is no room for it.
    labels: Vec<String>,
    columns: Vec<String>,
    rows: Vec<String>,
    scale: Option<Scale>,
    /// Width and height of a node.
    node: (f64, f64),
    at: (i32, i32),
    area: (i32, i32),
    below: i32,
}

impl<'a> Layout<'a> {
    /// Lays the graph out.
    ///
    /// # Errors
    /// As for [`Graph::validate`]; or nodes have values, and none is finite.
    pub fn new(graph: &'a Graph) -> Result<Self> {
        graph.validate()?;
        let scale = graph.scale()?;
        let mut places = graph.places();
        let widest = |labels: &[String]| Type::new(TICK, INK).widest(labels);
        let mut labels = all_trimmed(&graph.labels(), 14);
        let wide = f64::from(widest(&labels)) + 10.0;
        let (across, down) = places.size;
        let mut unit = (wide + 10.0, NODE.1.min(MOST.1 / down));
        let mut node = (wide, NODE.0.min(unit.1 * 0.6));
        if unit.0 * across > MOST.0 || node.1 < TICK {
            labels.clear();
            unit.0 = 24.0_f64.min(MOST.0 / across);
            node = (12.0_f64.min(unit.0 * 0.7), 12.0_f64.min(unit.1 * 0.6));
        }
        let in_units = |(x, y): &mut (f64, f64)| (*x, *y) = (*x * unit.0, *y * unit.1);
        places.nodes.iter_mut().for_each(in_units);
        places.columns.iter_mut().for_each(|(_, x)| *x *= unit.0);
        places.rows.iter_mut().for_each(|(_, y)| *y *= unit.1);
        in_units(&mut places.size);

        let names = |of: &[(String, f64)]| of.iter().map(|(name, _)| name.clone()).collect();
        let (columns, rows): (Vec<String>, Vec<String>) =
            (names(&places.columns), names(&places.rows));
        let (columns, rows) = (all_trimmed(&columns, 14), all_trimmed(&rows, 14));
        let top = if graph.title.is_empty() { 16 } else { 56 };
        let area = (places.size.0.ceil() as i32, (places.size.1.ceil() as i32).max(190));
        let (at, below) = ((22 + widest(&rows), top), 22 + widest(&columns).max(14));
        Ok(Self { graph, places, labels, columns, rows, scale, node, at, area, below })
    }

    fn middle(&self, node: usize) -> (f64, f64) {
        let (x, y) = self.places.nodes[node];
        (f64::from(self.at.0) + x, f64::from(self.at.1) + y)
    }

    /// The way of an edge: upright at both ends, and about the nodes between its own where these
    /// stand in one row.
    fn curve(&self, from: usize, to: usize) -> Vec<(f64, f64)> {
        let ((x0, y0), (x1, y1)) = (self.middle(from), self.middle(to));
        let half = self.node.1 / 2.0;
        let (y0, y1, reach) = match y0 - y1 {
            up if up > 0.0 => (y0 - half, y1 + half, (up / 2.0).min(60.0)),
            down if down < 0.0 => (y0 + half, y1 - half, (down / 2.0).max(-60.0)),
            _ => (y0 - half, y1 - half, 1.5 * self.node.1),
        };
        let turned = if y0 == y1 { y1 - reach } else { y1 + reach };
        let bend = |t: f64, [a, b, c, d]: [f64; 4]| {
            let s = 1.0 - t;
            s * s * s * a + 3.0 * s * s * t * b + 3.0 * s * t * t * c + t * t * t * d
        };
        (0..=PIECES)
            .map(|i| i as f64 / PIECES as f64)
            .map(|t| (bend(t, [x0, x0, x1, x1]), bend(t, [y0, y0 - reach, turned, y1])))
            .collect()
    }

    fn names<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        let kind = Type::new(TICK, FAINT).mono();
        let ((left, top), (width, height)) = (self.at, self.area);
        let mut last = f64::INFINITY;
        for (name, (_, y)) in self.rows.iter().zip(&self.places.rows) {
            let at = top + *y as i32;
            canvas.stroke(
                &[(left.into(), at.into()), ((left + width).into(), at.into())],
                1,
                MINOR,
            )?;
            if (last - y).abs() >= TICK {
                canvas.text(name, (left - 7, at), kind.across(HPos::Right))?;
                last = *y;
            }
        }
        let room = self.places.size.0 / self.columns.len() as f64;
        let upright = f64::from(kind.widest(&self.columns)) + 6.0 > room;
        let mut last = f64::NEG_INFINITY;
        for (name, (_, x)) in self.columns.iter().zip(&self.places.columns) {
            let at = (left + *x as i32, top + height + 8);
            if x - last < TICK {
                continue;
            }
            last = *x;
            match upright {
                true => canvas.text(name, at, kind.upwards().across(HPos::Right))?,
                false => canvas.text(name, at, kind.across(HPos::Center).down(VPos::Top))?,
            }
        }
        Ok(())
    }

    fn nodes<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        let half = (self.node.0 / 2.0, self.node.1 / 2.0);
        for (i, node) in self.graph.nodes.iter().enumerate() {
            let (x, y) = self.middle(i);
            let from = ((x - half.0).round() as i32, (y - half.1).round() as i32);
            let to = ((x + half.0).round() as i32, (y + half.1).round() as i32);
            let ground = match (node.value, &self.scale) {
                (Some(value), Some(scale)) => scale.colour(value),
                _ => GRID,
            };
            canvas.fill(from, to, ground)?;
            canvas.frame(from, to, FRAME)?;
            if let Some(label) = self.labels.get(i) {
                let kind = Type::new(TICK, readable_on(ground)).mono().across(HPos::Center);
                canvas.text(label, (x.round() as i32, y.round() as i32), kind)?;
            }
        }
        Ok(())
    }

    /// Lines as wide and as coloured as those of some weights, and the colours of the nodes.
    fn key<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        let (left, top) = (self.at.0 + self.area.0 + 20, self.at.1 + 8);
        let name = Type::new(14.0, FAINT);
        let mut row = 0;
        let edges = self.graph.by_weight();
        let heaviest = edges.last().map_or(0.0, |(edge, _)| edge.weight.abs());
        for sign in [1.0, -1.0] {
            let most = edges.iter().map(|(_, share)| sign * share).fold(0.0, f64::max);
            for share in [most, 0.3 * most].into_iter().filter(|share| *share > 0.0) {
                let y = top + 20 * row;
                let line = [(f64::from(left), f64::from(y)), (f64::from(left + 34), f64::from(y))];
                canvas.stroke(&line, width(share), of_share(sign * share))?;
                canvas.text(&number(sign * share * heaviest), (left + 42, y), name)?;
                row += 1;
            }
        }
        match &self.scale {
            Some(scale) => bar(canvas, left, top + 20 * row + 6, top + 174, scale),
            None => Ok(()),
        }
    }
}

/// The width of an edge, of its share of the largest weight.
fn width(share: f64) -> i32 {
    1 + (5.0 * share.abs()).round() as i32
}

impl Draw for Layout<'_> {
    fn size(&self) -> (i32, i32) {
        let (width, height) = (self.at.0 + self.area.0 + KEY, self.at.1 + self.area.1 + self.below);
        (width.max(10 * self.graph.title.chars().count().min(60) as i32 + 40), height)
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        self.names(canvas)?;
        for (edge, share) in self.graph.by_weight() {
            canvas.stroke(&self.curve(edge.from, edge.to), width(share), of_share(share))?;
        }
        self.nodes(canvas)?;
        self.key(canvas)?;
        let width = self.size().0;
        let title = Type::new(22.0, INK).across(HPos::Center);
        canvas.text(
            &trimmed(&visible(&self.graph.title), (width / 11) as usize),
            (width / 2, 28),
            title,
        )
    }
}
