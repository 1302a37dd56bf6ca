//! Heatmaps: a grid of values shown as colours.

use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::{Axis, Reach};
use super::canvas::{Canvas, Draw, Type};
use super::colour::{Bounds, FAINT, FRAME, INK, Scale, readable_on};
use super::label::{of_places, token, trimmed, visible};
use super::number;
use crate::{Result, bail};

/// A grid of values to be shown as colours, the first row on top.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Heatmap {
    /// The title above the picture; may be empty.
    pub title: String,
    /// What the columns are; may be empty.
    pub xlabel: String,
    /// What the rows are; may be empty.
    pub ylabel: String,
    /// The labels of the columns. Empty means their indices.
    pub x: Vec<String>,
    /// The labels of the rows. Empty means their indices.
    pub y: Vec<String>,
    /// The values, `[row][column]`.
    pub values: Vec<Vec<f64>>,
    /// Texts for the cells, `[row][column]`. Empty means the values, if they fit.
    pub text: Vec<Vec<String>>,
    /// Ends of the colour scale that are fixed.
    pub bounds: Bounds,
}

impl Heatmap {
    /// Checks that the heatmap can be drawn.
    ///
    /// # Errors
    /// No values, rows of different lengths, or labels or texts whose number does not fit the
    /// values.
    pub fn validate(&self) -> Result<()> {
        check_grid("a heatmap", &self.values)?;
        check_labels("x", &self.x, "columns", self.values[0].len())?;
        check_labels("y", &self.y, "rows", self.values.len())?;
        let (rows, columns) = (self.values.len(), self.values[0].len());
        let fits = self.text.is_empty()
            || self.text.len() == rows && self.text.iter().all(|row| row.len() == columns);
        if !fits {
            let widest = self.text.iter().map(Vec::len).max().unwrap_or(0);
            bail!(
                "a heatmap has text for {} rows of {widest} cells, and {rows} of {columns}",
                self.text.len()
            );
        }
        Ok(())
    }

    /// The texts of the cells, each at most `most` columns wide.
    pub(super) fn texts(&self, most: usize) -> Vec<Vec<String>> {
        self.text
            .iter()
            .map(|row| row.iter().map(|text| trimmed(&token(text), most)).collect())
            .collect()
    }

    /// The colour scale of the values.
    pub(super) fn scale(&self) -> Result<Scale> {
        self.validate()?;
        Scale::within(self.values.iter().flatten().copied(), self.bounds)
    }
}

/// Checks that there is at least one number, and that all rows are equally long. `what` is for
/// messages.
pub(super) fn check_grid(what: &str, rows: &[Vec<f64>]) -> Result<()> {
    let Some(first) = rows.first().filter(|row| !row.is_empty()) else {
        bail!("{what} needs at least one row of at least one number");
    };
    match rows.iter().position(|row| row.len() != first.len()) {
        Some(i) => {
            bail!("row {i} of {what} has {} numbers where row 0 has {}", rows[i].len(), first.len())
        }
        None => Ok(()),
    }
}

fn check_labels(axis: &str, labels: &[String], what: &str, count: usize) -> Result<()> {
    if !labels.is_empty() && labels.len() != count {
        bail!("a heatmap has {} labels on {axis} for {count} {what}", labels.len());
    }
    Ok(())
}

/// Reduces `values` to at most `rows` by `columns` cells. Each is the mean of the finite values of
/// a block, or NaN if there are none.
pub(super) fn coarser(values: &[Vec<f64>], rows: usize, columns: usize) -> Vec<Vec<f64>> {
    let (rows, columns) = (rows.max(1), columns.max(1));
    let width = values.first().map_or(0, Vec::len);
    if values.len() <= rows && width <= columns {
        return values.to_vec();
    }
    let (down, across) = (values.len().div_ceil(rows), width.div_ceil(columns));
    let mean = |block: &[Vec<f64>], from: usize| {
        let to = (from + across).min(width);
        let finite: Vec<f64> = block
            .iter()
            .flat_map(|row| &row[from..to])
            .copied()
            .filter(|x| x.is_finite())
            .collect();
        if finite.is_empty() {
            f64::NAN
        } else {
            finite.iter().map(|x| x / finite.len() as f64).sum()
        }
    };
    values
        .chunks(down)
        .map(|block| (0..width).step_by(across).map(|from| mean(block, from)).collect())
        .collect()
}

/// Fills the box at `(left, top)` with the colours of `values`, as a grid of equal cells.
pub(super) fn cells<DB: DrawingBackend>(
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
pub(super) fn bar<DB: DrawingBackend>(
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
    axis.iter().flat_map(|axis| &axis.ticks).try_for_each(|(at, text)| name(*at, text))
}

/// Where the `i`th of `count` equal parts of `length` begins.
pub(super) fn part(length: i32, i: usize, count: usize) -> i32 {
    (f64::from(length) * i as f64 / count as f64).round() as i32
}

/// The step between labels if `count` labels share `length` and each needs `room`.
pub(super) fn every(count: usize, length: i32, room: i32) -> usize {
    (count * room.max(1) as usize).div_ceil(length.max(1) as usize).max(1)
}

const TICK: f64 = 14.0;
/// The widest text in a cell, in characters.
const LONGEST: usize = 12;
const MOST: usize = 240;

/// A heatmap with its labels and sizes, ready to be drawn.
pub(super) struct Layout<'a> {
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
        let short = |given: &[String], count| {
            of_places(given, count).iter().map(|l| trimmed(l, 14)).collect::<Vec<_>>()
        };
        let (x, y) = (short(&heatmap.x, columns), short(&heatmap.y, rows));
        let kind = Type::new(TICK, INK).mono();
        let widest =
            |labels: &[String]| labels.iter().map(|label| kind.width(label)).max().unwrap_or(0);
        let texts = heatmap.texts(LONGEST);
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
        let room = if self.upright {
            15
        } else {
            self.x.iter().map(|l| kind.width(l)).max().unwrap_or(0) + 10
        };
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
    use super::*;
    use crate::output::picture::Picture;
    use crate::output::picture::canvas::tests::pixels;

    fn heatmap(values: &[&[f64]]) -> Heatmap {
        Heatmap {
            title: "Scores".into(),
            values: values.iter().map(|row| row.to_vec()).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn svg_has_cells_labels_and_numbers() {
        let mut heatmap = heatmap(&[&[0.0, 0.5], &[f64::NAN, 1.0]]);
        heatmap.x = vec![" the".into(), "\n".into()];
        let svg = Picture::Heatmap(heatmap).svg().unwrap();
        for text in ["Scores", "·the", "␤", "0.50", "nan"] {
            assert!(svg.lines().any(|line| line == text), "{text} in {svg}");
        }
        assert_eq!(svg.matches("fill=\"#BEBEBE\"").count(), 1, "NaN is grey");
        assert!(
            svg.contains("fill=\"#440154\"") && svg.contains("fill=\"#FDE725\""),
            "the ends of viridis"
        );
    }

    #[test]
    fn pixels_have_the_colours_of_values() {
        let heatmap = heatmap(&[&[-1.0, 1.0]]);
        let layout = Layout::new(&heatmap).unwrap();
        let (bytes, row) = pixels(&layout);
        let at = |x: i32, y: i32| &bytes[y as usize * row + x as usize * 3..][..3];
        let (left, top) = layout.at;
        assert_eq!(at(left + 5, top + 5), [5, 48, 97]);
        assert_eq!(at(left + layout.grid.0 - 5, top + 5), [103, 0, 31]);
        assert_eq!(at(1, 1), [255, 255, 255]);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let message =
            |heatmap: Heatmap| Picture::Heatmap(heatmap).svg().unwrap_err().message().to_owned();
        assert_eq!(
            message(heatmap(&[])),
            "a heatmap needs at least one row of at least one number"
        );
        assert_eq!(
            message(heatmap(&[&[]])),
            "a heatmap needs at least one row of at least one number"
        );
        assert_eq!(
            message(heatmap(&[&[1.0, 2.0], &[1.0]])),
            "row 1 of a heatmap has 1 numbers where row 0 has 2"
        );
        let labelled = Heatmap { x: vec!["a".into()], ..heatmap(&[&[1.0, 2.0]]) };
        assert_eq!(message(labelled), "a heatmap has 1 labels on x for 2 columns");
        assert_eq!(
            message(heatmap(&[&[f64::NAN]])),
            "there is nothing to draw: no value is finite"
        );
    }

    #[test]
    fn odd_and_large_grids_are_drawn() {
        let wide: Vec<f64> = (0..3000).map(f64::from).collect();
        let grids: [&[&[f64]]; 4] =
            [&[&[3.0, 3.0]], &[&[f64::INFINITY, 1.0, -1e308]], &[&[5e-324]], &[&wide]];
        for grid in grids {
            let picture = Picture::Heatmap(heatmap(grid));
            assert!(picture.svg().unwrap().len() < 2_000_000);
            assert!(picture.png().is_ok());
            assert!(picture.terminal(40, true).is_ok());
        }
    }

    #[test]
    fn coarser_cells_are_means() {
        let values =
            vec![vec![1.0, 3.0, 5.0], vec![f64::NAN, f64::NAN, f64::NAN], vec![f64::NAN; 3]];
        assert_eq!(coarser(&values, 2, 2)[0], [2.0, 5.0]);
        assert!(coarser(&values, 2, 2)[1][0].is_nan());
        assert_eq!(coarser(&values[..1], 1, 3), values[..1]);
    }
}
