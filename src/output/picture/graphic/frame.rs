//! What plots have around their marks: axes with ticks and grid lines, titles, and a legend.

use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Canvas, Type};
use crate::Result;
use crate::output::picture::axis::Axis;
use crate::output::picture::colour::{FAINT, FRAME, GRID, INK, MINOR, of_series};
use crate::output::picture::label::{all_trimmed, trimmed, visible};
use crate::output::picture::line::Series;

const SIZE: (i32, i32) = (960, 600);
const LEGEND: f64 = 15.0;
const STEP: i32 = 20;

/// The texts around a plot.
pub(super) struct Texts<'a> {
    pub title: &'a str,
    pub xlabel: &'a str,
    pub ylabel: &'a str,
}

/// The axes of a plot, laid out.
pub(super) struct Frame<'a> {
    texts: Texts<'a>,
    x: Axis,
    y: Axis,
    /// The series in the legend, by index, with their texts.
    legend: Vec<(usize, String)>,
    /// The number of all series.
    series: usize,
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
}

impl<'a> Frame<'a> {
    /// Lays the frame out around marks on these axes.
    pub fn new(texts: Texts<'a>, (x, y): (Axis, Axis), series: &[Series]) -> Self {
        let tick = Type::new(15.0, FAINT);
        let widest = y.ticks.iter().map(|(_, label)| tick.width(label)).max().unwrap_or(0);
        let left = 24 + widest + if texts.ylabel.is_empty() { 0 } else { 26 };
        let top = if texts.title.is_empty() { 28 } else { 60 };
        let bottom = SIZE.1 - if texts.xlabel.is_empty() { 44 } else { 70 };
        let legend = legend(series, ((bottom - top) / STEP) as usize);
        let legend_width = legend
            .iter()
            .map(|(_, label)| Type::new(LEGEND, INK).width(label) + 66)
            .max()
            .unwrap_or(30);
        let right = SIZE.0 - legend_width;
        Self { texts, x, y, legend, series: series.len(), left, top, right, bottom }
    }

    /// Width and height in units.
    pub const fn size() -> (i32, i32) {
        SIZE
    }

    /// The axes.
    pub fn axes(&self) -> (&Axis, &Axis) {
        (&self.x, &self.y)
    }

    /// Where the place from 0 to 1 on both axes is drawn.
    pub fn point(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let along = |from: i32, to: i32, part: f64| f64::from(from) + f64::from(to - from) * part;
        (along(self.left, self.right, x), along(self.bottom, self.top, y))
    }

    /// Draws the axes, below the marks.
    pub fn below<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        for &at in &self.x.minor {
            canvas.stroke(&[self.point((at, 0.0)), self.point((at, 1.0))], 1, MINOR)?;
        }
        for &at in &self.y.minor {
            canvas.stroke(&[self.point((0.0, at)), self.point((1.0, at))], 1, MINOR)?;
        }
        let kind = Type::new(15.0, FAINT);
        for (at, label) in &self.x.ticks {
            let (x, _) = self.point((*at, 0.0));
            canvas.stroke(&[self.point((*at, 0.0)), self.point((*at, 1.0))], 1, GRID)?;
            canvas.text(
                label,
                (x as i32, self.bottom + 8),
                kind.across(HPos::Center).down(VPos::Top),
            )?;
        }
        for (at, label) in &self.y.ticks {
            let (_, y) = self.point((0.0, *at));
            canvas.stroke(&[self.point((0.0, *at)), self.point((1.0, *at))], 1, GRID)?;
            canvas.text(label, (self.left - 8, y as i32), kind.across(HPos::Right))?;
        }
        canvas.frame((self.left, self.top), (self.right, self.bottom), FRAME)
    }

    /// Draws the legend and the titles.
    pub fn around<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        for (row, (i, label)) in self.legend.iter().enumerate() {
            let (x, y) = (self.right + 16, self.top + STEP / 2 + row as i32 * STEP);
            let sample = [(f64::from(x), f64::from(y)), (f64::from(x + 22), f64::from(y))];
            canvas.stroke(&sample, 3, of_series(*i, self.series))?;
            canvas.text(label, (x + 30, y), Type::new(LEGEND, INK))?;
        }
        let (centre, middle) = ((self.left + self.right) / 2, (self.top + self.bottom) / 2);
        let title = Type::new(24.0, INK).across(HPos::Center);
        let title_at = if title.width(self.texts.title) > self.right - self.left {
            SIZE.0 / 2
        } else {
            centre
        };
        canvas.text(&trimmed(&visible(self.texts.title), 80), (title_at, 32), title)?;
        let name = Type::new(17.0, INK).across(HPos::Center);
        canvas.text(&trimmed(&visible(self.texts.xlabel), 90), (centre, SIZE.1 - 24), name)?;
        canvas.text(&trimmed(&visible(self.texts.ylabel), 50), (20, middle), name.upwards())
    }
}

/// The legend's rows, at most `room` of them.
fn legend(series: &[Series], room: usize) -> Vec<(usize, String)> {
    if series.iter().all(|series| series.label.is_empty()) {
        return vec![];
    }
    let every = series.len().div_ceil(room.max(1));
    let labels: Vec<String> =
        series.iter().step_by(every).map(|series| visible(&series.label)).collect();
    let named = all_trimmed(&labels, 26).into_iter().enumerate();
    named.map(|(i, label)| (i * every, label)).filter(|(_, label)| !label.is_empty()).collect()
}
