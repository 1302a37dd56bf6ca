//! Line plots, laid out and drawn.

use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Canvas, Draw, Type};
use crate::Result;

const SIZE: (i32, i32) = (960, 600);
const LEGEND: f64 = 15.0;
const STEP: i32 = 20;
use crate::output::picture::axis::{Axis, Reach};
use crate::output::picture::colour::{FAINT, FRAME, GRID, INK, MINOR, of_series};
use crate::output::picture::label::{all_trimmed, trimmed, visible};
use crate::output::picture::line::{Kind, LinePlot};

/// A plot with its axes, ready to be drawn.
pub(in crate::output::picture) struct Layout<'a> {
    plot: &'a LinePlot,
    x: Axis,
    y: Axis,
    /// The series in the legend, by index, with their texts.
    legend: Vec<(usize, String)>,
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
}

impl<'a> Layout<'a> {
    /// Lays the plot out.
    ///
    /// # Errors
    /// As for [`LinePlot::axes`].
    pub fn new(plot: &'a LinePlot) -> Result<Self> {
        let (x, y) = plot.axes((Reach::Little, 8), (Reach::Tick, 7))?;
        let tick = Type::new(15.0, FAINT);
        let widest = y.ticks.iter().map(|(_, label)| tick.width(label)).max().unwrap_or(0);
        let left = 24 + widest + if plot.ylabel.is_empty() { 0 } else { 26 };
        let top = if plot.title.is_empty() { 28 } else { 60 };
        let bottom = SIZE.1 - if plot.xlabel.is_empty() { 44 } else { 70 };
        let legend = legend(plot, ((bottom - top) / STEP) as usize);
        let legend_width = legend
            .iter()
            .map(|(_, label)| Type::new(LEGEND, INK).width(label) + 66)
            .max()
            .unwrap_or(30);
        Ok(Self { plot, x, y, legend, left, top, right: SIZE.0 - legend_width, bottom })
    }

    fn point(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let along = |from: i32, to: i32, part: f64| f64::from(from) + f64::from(to - from) * part;
        (along(self.left, self.right, x), along(self.bottom, self.top, y))
    }

    fn axes<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
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

    fn titles<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        let (centre, middle) = ((self.left + self.right) / 2, (self.top + self.bottom) / 2);
        let title = Type::new(24.0, INK).across(HPos::Center);
        let title_at = if title.width(&self.plot.title) > self.right - self.left {
            SIZE.0 / 2
        } else {
            centre
        };
        canvas.text(&trimmed(&visible(&self.plot.title), 80), (title_at, 32), title)?;
        let name = Type::new(17.0, INK).across(HPos::Center);
        canvas.text(&trimmed(&visible(&self.plot.xlabel), 90), (centre, SIZE.1 - 24), name)?;
        canvas.text(&trimmed(&visible(&self.plot.ylabel), 50), (20, middle), name.upwards())
    }

    fn lines<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        let count = self.plot.series.len();
        let joined = self.plot.kind == Kind::Line;
        let dotted = !joined || self.plot.x.len() <= 40 && count <= 8;
        for (i, series) in self.plot.series.iter().enumerate() {
            for run in self.plot.runs(series, &self.x, &self.y) {
                let points: Vec<(f64, f64)> =
                    run.into_iter().map(|place| self.point(place)).collect();
                if joined && points.len() > 1 {
                    canvas.stroke(&points, 2, of_series(i, count))?;
                }
                if dotted || points.len() == 1 {
                    points
                        .iter()
                        .try_for_each(|&point| canvas.dot(point, 3.5, of_series(i, count)))?;
                }
            }
        }
        Ok(())
    }

    fn legend<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        for (row, (i, label)) in self.legend.iter().enumerate() {
            let (x, y) = (self.right + 16, self.top + STEP / 2 + row as i32 * STEP);
            let sample = [(f64::from(x), f64::from(y)), (f64::from(x + 22), f64::from(y))];
            canvas.stroke(&sample, 3, of_series(*i, self.plot.series.len()))?;
            canvas.text(label, (x + 30, y), Type::new(LEGEND, INK))?;
        }
        Ok(())
    }
}

/// The legend's rows, at most `room` of them.
fn legend(plot: &LinePlot, room: usize) -> Vec<(usize, String)> {
    if plot.series.iter().all(|series| series.label.is_empty()) {
        return vec![];
    }
    let every = plot.series.len().div_ceil(room.max(1));
    let labels: Vec<String> =
        plot.series.iter().step_by(every).map(|series| visible(&series.label)).collect();
    let named = all_trimmed(&labels, 26).into_iter().enumerate();
    named.map(|(i, label)| (i * every, label)).filter(|(_, label)| !label.is_empty()).collect()
}

impl Draw for Layout<'_> {
    fn size(&self) -> (i32, i32) {
        SIZE
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        self.axes(canvas)?;
        self.lines(canvas)?;
        self.legend(canvas)?;
        self.titles(canvas)
    }
}
