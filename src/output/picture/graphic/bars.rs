//! Bars and histograms, laid out and drawn.

use plotters::prelude::DrawingBackend;

use super::canvas::{Canvas, Draw};
use super::frame::{Frame, Texts};
use crate::Result;
use crate::output::picture::bars::Bars;
use crate::output::picture::colour::{FRAME, of_series};

/// Bars with their axes, ready to be drawn.
pub(in crate::output::picture) struct Layout<'a> {
    bars: &'a Bars,
    frame: Frame<'a>,
}

impl<'a> Layout<'a> {
    /// Lays the bars out.
    ///
    /// # Errors
    /// As for [`Bars::axes`].
    pub fn new(bars: &'a Bars) -> Result<Self> {
        let texts = Texts { title: &bars.title, xlabel: &bars.xlabel, ylabel: &bars.ylabel };
        Ok(Self { bars, frame: Frame::new(texts, bars.axes()?, &bars.series) })
    }
}

impl Draw for Layout<'_> {
    fn size(&self) -> (i32, i32) {
        Frame::size()
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        self.frame.below(canvas)?;
        let (_, axis) = self.frame.axes();
        let zero = axis.place(0.0).unwrap_or(0.0);
        let (bars, series) = (self.bars.count() as f64, self.bars.series.len());
        // The bars of a histogram touch; named ones leave a fifth of their room free.
        let gap = if self.bars.edges.is_empty() { 0.1 } else { 0.0 };
        let part = (1.0 - 2.0 * gap) / series as f64;
        for (s, heights) in self.bars.series.iter().enumerate() {
            for (i, &height) in heights.y.iter().enumerate() {
                let Some(at) = axis.place(height) else { continue };
                let left = i as f64 + gap + s as f64 * part;
                let corner = |x: f64, y: f64| {
                    let (x, y) = self.frame.point((x / bars, y));
                    (x.round() as i32, y.round() as i32)
                };
                let (from, to) = (corner(left, at.max(zero)), corner(left + part, at.min(zero)));
                canvas.fill(from, (to.0.max(from.0 + 1), to.1), of_series(s, series))?;
            }
        }
        let ends = [(0.0, zero), (1.0, zero)].map(|place| self.frame.point(place));
        canvas.stroke(&ends, 1, FRAME)?;
        self.frame.around(canvas)
    }
}
