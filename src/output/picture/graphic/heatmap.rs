//! Heatmaps, laid out and drawn.

use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Canvas, Draw, Type};
use crate::Result;

const TICK: f64 = 14.0;
/// The widest text in a cell, in characters.
const LONGEST: usize = 12;
const MOST: usize = 240;
use crate::output::picture::axis::{Axis, Reach};
use crate::output::picture::colour::{FAINT, FRAME, INK, Scale, readable_on};
use crate::output::picture::heatmap::{Heatmap, coarser, every, part};
use crate::output::picture::label::{all_trimmed, grid_trimmed, of_places, trimmed, visible};
use crate::output::picture::number;

/// Fills the box at `(left, top)` with the colours of `values`, as a grid of equal cells.
pub(in crate::output::picture) fn cells<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    (left, top): (i32, i32),
    (width, height): (i32, i32),
    values: &[Vec<f64>],
    scale: &Scale,
) -> Result<()> {
    for (i, row) in values.iter().enumerate() {
        for (j, &value) in row.iter().enumerate() {
            let from = (left + part(width, j, row.len()), top + part(height, i, values.len()));
            let to =
                (left + part(width, j + 1, row.len()), top + part(height, i + 1, values.len()));
            canvas.fill(from, to, scale.colour(value))?;
        }
    }
    canvas.frame((left, top), (left + width, top + height), FRAME)
}

/// Draws the colour scale between `top` and `bottom`, its left edge at `x`.
pub(in crate::output::picture) fn bar<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    x: i32,
    top: i32,
    bottom: i32,
    scale: &Scale,
) -> Result<()> {
    const WIDTH: i32 = 16;
    let steps = if scale.lo == scale.hi { 1 } else { 128 };
    for step in 0..steps {
        let fraction = (step as f64 + 0.5) / steps as f64;
        let y = |step: usize| bottom - part(bottom - top, step, steps);
        canvas.fill((x, y(step + 1)), (x + WIDTH, y(step)), scale.at(fraction))?;
    }
    canvas.frame((x, top), (x + WIDTH, bottom), FRAME)?;
    let name = |fraction: f64, text: &str| {
        let y = f64::from(bottom) - f64::from(bottom - top) * fraction;
        canvas.text(text, (x + WIDTH + 7, y as i32), Type::new(14.0, FAINT))
    };
    if scale.lo == scale.hi {
        return name(0.5, &number(scale.lo));
    }
    // A fractional value between the ends keeps a range from 0 to 1 from being treated as whole
    // numbers.
    let values = [scale.lo, scale.value(0.3), scale.hi];
    let count = ((bottom - top) / 40).clamp(2, 6) as usize;
    let axis = Axis::new(values.into_iter(), false, Reach::None, count);
    // The ends are named, and what is between them where there is room.
    name(0.0, &number(scale.lo))?;
    name(1.0, &number(scale.hi))?;
    let room = 16.0 / f64::from(bottom - top).max(1.0);
    let between = |at: &f64| (room..=1.0 - room).contains(at);
    let ticks = axis.iter().flat_map(|axis| &axis.ticks).filter(|(at, _)| between(at));
    ticks.into_iter().try_for_each(|(at, text)| name(*at, text))
}

/// A heatmap with its labels and sizes, ready to be drawn.
pub(in crate::output::picture) struct Layout<'a> {
    heatmap: &'a Heatmap,
    values: Vec<Vec<f64>>,
    texts: Vec<Vec<String>>,
    scale: Scale,
    x: Vec<String>,
    y: Vec<String>,
    /// Whether column labels are turned by 90° because they are wider than their columns.
    upright: bool,
    at: (i32, i32),
    grid: (i32, i32),
    below: i32,
}

impl<'a> Layout<'a> {
    /// Lays the heatmap out.
    ///
    /// # Errors
    /// As for [`Heatmap::validate`]; or the colour scale has no finite value.
    pub fn new(heatmap: &'a Heatmap) -> Result<Self> {
        let scale = heatmap.scale()?;
        let (rows, columns) = (heatmap.values.len(), heatmap.values[0].len());
        let short = |given: &[String], count| all_trimmed(&of_places(given, count), 14);
        let (x, y) = (short(&heatmap.x, columns), short(&heatmap.y, rows));
        let widest = |labels: &[String]| Type::new(TICK, INK).widest(labels);
        let texts = grid_trimmed(&heatmap.texts(), LONGEST);
        let cell = texts
            .iter()
            .flatten()
            .map(|text| Type::new(TICK, INK).width(text) + 10)
            .max()
            .unwrap_or(0);
        let (wide, tall) = (columns.min(99) as i32, rows.min(99) as i32);
        let grid =
            ((wide * cell.max(64)).clamp(320, 720.max(wide * cell)), (tall * 44).clamp(88, 500));
        let upright = !heatmap.x.is_empty() && widest(&x) + 8 > grid.0 / columns as i32;
        let left = 20 + widest(&y) + if heatmap.ylabel.is_empty() { 6 } else { 32 };
        let top = if heatmap.title.is_empty() { 20 } else { 56 };
        let below = 14 + if upright { widest(&x) } else { 14 };
        let values = coarser(&heatmap.values, MOST, MOST);
        // A cell that is the mean of several has no text.
        let texts = if values.len() == rows && values[0].len() == columns { texts } else { vec![] };
        Ok(Self { heatmap, values, texts, scale, x, y, upright, at: (left, top), grid, below })
    }

    fn labels<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        let kind = Type::new(TICK, INK).mono();
        let ((left, top), (width, height)) = (self.at, self.grid);
        let room = if self.upright { 15 } else { kind.widest(&self.x) + 10 };
        let middle = |length, i, count| (part(length, i, count) + part(length, i + 1, count)) / 2;
        for (j, label) in self.x.iter().enumerate().step_by(every(self.x.len(), width, room)) {
            let at = (left + middle(width, j, self.x.len()), top + height + 8);
            match self.upright {
                true => canvas.text(label, at, kind.upwards().across(HPos::Right))?,
                false => canvas.text(label, at, kind.across(HPos::Center).down(VPos::Top))?,
            }
        }
        for (i, label) in self.y.iter().enumerate().step_by(every(self.y.len(), height, 15)) {
            canvas.text(
                label,
                (left - 8, top + middle(height, i, self.y.len())),
                kind.across(HPos::Right),
            )?;
        }
        Ok(())
    }

    /// Writes the texts, or the values, into the cells if there is room.
    fn numbers<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        let (rows, columns) = (self.values.len(), self.values[0].len());
        if self.texts.is_empty() && (rows > 12 || columns > 12) {
            return Ok(());
        }
        let kind = Type::new(14.0, INK).across(HPos::Center);
        let numbers =
            || self.values.iter().map(|row| row.iter().map(|&x| in_cell(x)).collect()).collect();
        let texts: Vec<Vec<String>> =
            if self.texts.is_empty() { numbers() } else { self.texts.clone() };
        let widest = texts.iter().flatten().map(|text| kind.width(text)).max().unwrap_or(0);
        if widest + 6 > self.grid.0 / columns as i32 {
            return Ok(());
        }
        for (i, row) in texts.iter().enumerate() {
            for (j, text) in row.iter().enumerate() {
                let x = self.at.0 + part(self.grid.0, 2 * j + 1, 2 * columns);
                let y = self.at.1 + part(self.grid.1, 2 * i + 1, 2 * rows);
                let colour = readable_on(self.scale.colour(self.values[i][j]));
                canvas.text(text, (x, y), Type { colour, ..kind })?;
            }
        }
        Ok(())
    }
}

/// The text of a value in its cell. It is shorter than elsewhere, as the colour shows the value
/// too.
fn in_cell(x: f64) -> String {
    let size = x.abs();
    if x.fract() != 0.0 && (0.01..1000.0).contains(&size) {
        format!(
            "{x:.*}",
            if size < 10.0 {
                2
            } else if size < 100.0 {
                1
            } else {
                0
            }
        )
    } else {
        number(x)
    }
}

impl Draw for Layout<'_> {
    fn size(&self) -> (i32, i32) {
        let name = if self.heatmap.xlabel.is_empty() { 4 } else { 30 };
        (self.at.0 + self.grid.0 + 120, self.at.1 + self.grid.1 + self.below + name + 12)
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        let ((left, top), (width, height)) = (self.at, self.grid);
        cells(canvas, self.at, self.grid, &self.values, &self.scale)?;
        self.numbers(canvas)?;
        self.labels(canvas)?;
        bar(canvas, left + width + 24, top, top + height, &self.scale)?;
        let (centre, middle) = (left + width / 2, top + height / 2);
        let title = Type::new(22.0, INK).across(HPos::Center);
        canvas.text(
            &trimmed(&visible(&self.heatmap.title), (self.size().0 / 12) as usize),
            (self.size().0 / 2, 30),
            title,
        )?;
        let name = Type::new(16.0, INK).across(HPos::Center);
        canvas.text(
            &trimmed(&visible(&self.heatmap.xlabel), 60),
            (centre, self.size().1 - 20),
            name,
        )?;
        canvas.text(
            &trimmed(&visible(&self.heatmap.ylabel), (height / 8) as usize),
            (20, middle),
            name.upwards(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::canvas::tests::pixels;
    use super::*;

    #[test]
    fn the_bar_names_both_ends_of_the_scale() {
        let values = vec![vec![0.137, 12.345]];
        let svg =
            crate::output::picture::Picture::Heatmap(Heatmap { values, ..Heatmap::default() });
        let svg = svg.svg().unwrap();
        for end in ["0.137", "12.35"] {
            assert!(svg.lines().any(|line| line == end), "{end} in {svg}");
        }
    }

    #[test]
    fn pixels_have_the_colours_of_values() {
        let heatmap = Heatmap { values: vec![vec![-1.0, 1.0]], ..Heatmap::default() };
        let layout = Layout::new(&heatmap).unwrap();
        let (bytes, row) = pixels(&layout);
        let at = |x: i32, y: i32| &bytes[y as usize * row + x as usize * 3..][..3];
        let (left, top) = layout.at;
        assert_eq!(at(left + 5, top + 5), [5, 48, 97]);
        assert_eq!(at(left + layout.grid.0 - 5, top + 5), [103, 0, 31]);
        assert_eq!(at(1, 1), [255, 255, 255]);
    }
}
