//! Line plots, laid out and drawn.

use plotters::prelude::DrawingBackend;

use super::canvas::{Canvas, Draw};
use super::frame::{Frame, Texts};
use crate::Result;
use crate::output::picture::axis::Reach;
use crate::output::picture::colour::of_series;
use crate::output::picture::line::{Kind, LinePlot};

/// A plot with its axes, ready to be drawn.
pub(in crate::output::picture) struct Layout<'a> {
    plot: &'a LinePlot,
    frame: Frame<'a>,
}

impl<'a> Layout<'a> {
    /// Lays the plot out.
    ///
    /// # Errors
    /// As for [`LinePlot::axes`].
    pub fn new(plot: &'a LinePlot) -> Result<Self> {
        let axes = plot.axes((Reach::Little, 8), (Reach::Tick, 7))?;
        let texts = Texts { title: &plot.title, xlabel: &plot.xlabel, ylabel: &plot.ylabel };
        Ok(Self { plot, frame: Frame::new(texts, axes, &plot.series) })
    }
}

impl Draw for Layout<'_> {
    fn size(&self) -> (i32, i32) {
        Frame::size()
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        self.frame.below(canvas)?;
        let (x, y) = self.frame.axes();
        let count = self.plot.series.len();
        let joined = self.plot.kind == Kind::Line;
        let dotted = !joined || self.plot.x.len() <= 40 && count <= 8;
        for (i, series) in self.plot.series.iter().enumerate() {
            let colour = of_series(i, count);
            for run in self.plot.runs(series, x, y) {
                let points: Vec<(f64, f64)> =
                    run.into_iter().map(|place| self.frame.point(place)).collect();
                if joined && points.len() > 1 {
                    canvas.stroke(&points, 2, colour)?;
                }
                if dotted || points.len() == 1 {
                    points.iter().try_for_each(|&point| canvas.dot(point, 3.5, colour))?;
                }
            }
        }
        self.frame.around(canvas)
    }
}
