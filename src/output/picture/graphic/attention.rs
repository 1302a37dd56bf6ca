//! Attention patterns, laid out and drawn.

use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::HPos;

use super::canvas::{Canvas, Draw, Type};
use super::heatmap::{bar, cells};
use crate::Result;

const TICK: f64 = 13.0;
const GAP: i32 = 18;
const HEAD: i32 = 28;
const BAR: i32 = 90;
use crate::output::picture::attention::Attention;
use crate::output::picture::colour::{INK, Scale};
use crate::output::picture::heatmap::{coarser, every, part};
use crate::output::picture::label::{trimmed, visible};

/// The heads laid out in a grid, ready to be drawn.
pub(in crate::output::picture) struct Layout<'a> {
    attention: &'a Attention,
    heads: Vec<Vec<Vec<f64>>>,
    scale: Scale,
    queries: Vec<String>,
    keys: Vec<String>,
    /// Width and height of one head's cells.
    panel: (i32, i32),
    columns: usize,
    left: i32,
    top: i32,
    below: i32,
}

impl<'a> Layout<'a> {
    /// Lays the heads out.
    ///
    /// # Errors
    /// As for [`Attention::validate`]; or no weight is finite.
    pub fn new(attention: &'a Attention) -> Result<Self> {
        let scale = attention.scale()?;
        let (queries, keys) = attention.labels(12);
        let count = attention.heads.len();
        let columns = match count {
            1..=4 => count,
            _ => (((count as f64) * 1.6).sqrt().ceil() as usize).clamp(4, 8),
        };
        let side = |n: usize| {
            let most = if columns == 1 { 520 } else { 1680 / columns as i32 };
            (n.min(99) as i32 * 16).clamp(
                if columns == 1 { 320 } else { 160 },
                most.clamp(160, 360 + 160 / columns as i32),
            )
        };
        let panel = (side(keys.len()), side(queries.len()));
        let widest = |labels: &[String]| Type::new(TICK, INK).widest(labels);
        // Browsers fail on an SVG document with a million rectangles.
        let most =
            ((120_000.0 / count as f64).sqrt() as usize).clamp(16, panel.0.min(panel.1) as usize);
        let heads = attention.heads.iter().map(|head| coarser(head, most, most)).collect();
        let (left, below) = (24 + widest(&queries), 20 + widest(&keys));
        let top = if attention.title.is_empty() { 12 } else { 52 };
        Ok(Self { attention, heads, scale, queries, keys, panel, columns, left, top, below })
    }

    fn rows(&self) -> i32 {
        self.heads.len().div_ceil(self.columns) as i32
    }

    fn corner(&self, head: usize) -> (i32, i32) {
        let (row, column) = ((head / self.columns) as i32, (head % self.columns) as i32);
        (
            self.left + column * (self.panel.0 + GAP),
            self.top + HEAD + row * (self.panel.1 + HEAD + 6),
        )
    }

    fn labels<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, head: usize) -> Result<()> {
        let kind = Type::new(TICK, INK).mono().across(HPos::Right);
        let ((left, top), (width, height)) = (self.corner(head), self.panel);
        let middle = |length, i, count| (part(length, i, count) + part(length, i + 1, count)) / 2;
        if head.is_multiple_of(self.columns) {
            for (i, label) in
                self.queries.iter().enumerate().step_by(every(self.queries.len(), height, 13))
            {
                canvas.text(
                    label,
                    (left - 7, top + middle(height, i, self.queries.len())),
                    kind,
                )?;
            }
        }
        // Only the lowest head of each column has labels for the keys.
        if head + self.columns >= self.heads.len() {
            for (j, label) in
                self.keys.iter().enumerate().step_by(every(self.keys.len(), width, 13))
            {
                canvas.text(
                    label,
                    (left + middle(width, j, self.keys.len()), top + height + 7),
                    kind.upwards(),
                )?;
            }
        }
        Ok(())
    }
}

impl Draw for Layout<'_> {
    fn size(&self) -> (i32, i32) {
        let columns = self.columns as i32;
        let width = self.left + columns * self.panel.0 + (columns - 1) * GAP + BAR;
        (width, self.top + self.rows() * (self.panel.1 + HEAD + 6) + self.below)
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        for (h, head) in self.heads.iter().enumerate() {
            let (left, top) = self.corner(h);
            let name = Type::new(15.0, INK).across(HPos::Center);
            canvas.text(&format!("head {h}"), (left + self.panel.0 / 2, top - 12), name)?;
            cells(canvas, (left, top), self.panel, head, &self.scale)?;
            self.labels(canvas, h)?;
        }
        let (width, _) = self.size();
        let (_, last) = self.corner(self.heads.len() - 1);
        let top = self.top + HEAD;
        bar(canvas, width - BAR + 20, top, (last + self.panel.1).min(top + 400), &self.scale)?;
        let title = Type::new(22.0, INK).across(HPos::Center);
        canvas.text(
            &trimmed(&visible(&self.attention.title), (width / 12) as usize),
            (width / 2, 28),
            title,
        )
    }
}
