//! Box plots, laid out and drawn.

use plotters::prelude::DrawingBackend;

use super::canvas::{Canvas, Draw};
use super::frame::{Frame, Texts};
use crate::Result;
use crate::output::picture::axis::{Axis, Reach};
use crate::output::picture::boxes::Boxes;
use crate::output::picture::colour::{FAINT, INK, of_series};

/// Boxes with their axes, ready to be drawn.
pub(in crate::output::picture) struct Layout<'a> {
    boxes: &'a Boxes,
    frame: Frame<'a>,
}

impl<'a> Layout<'a> {
    /// Lays the boxes out.
    ///
    /// # Errors
    /// As for [`Boxes::axis`].
    pub fn new(boxes: &'a Boxes) -> Result<Self> {
        let texts = Texts { title: &boxes.title, xlabel: &boxes.xlabel, ylabel: &boxes.ylabel };
        let axes = (Axis::of_names(&boxes.names(), 96), boxes.axis(Reach::Tick, 7)?);
        Ok(Self { boxes, frame: Frame::new(texts, axes, &[]) })
    }
}

impl Draw for Layout<'_> {
    fn size(&self) -> (i32, i32) {
        Frame::size()
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        self.frame.below(canvas)?;
        let (_, axis) = self.frame.axes();
        let count = self.boxes.boxes.len();
        for (i, of) in self.boxes.boxes.iter().enumerate() {
            // `across` runs from 0 to 1 over the room of one box.
            let at = |across: f64, value: f64| {
                let x = (i as f64 + across) / count as f64;
                self.frame.point((x, axis.place(value).unwrap_or(0.0)))
            };
            let pixel = |(x, y): (f64, f64)| (x.round() as i32, y.round() as i32);
            canvas.stroke(&[at(0.5, of.low), at(0.5, of.high)], 1, FAINT)?;
            for end in [of.low, of.high] {
                canvas.stroke(&[at(0.4, end), at(0.6, end)], 1, FAINT)?;
            }
            let (from, to) = (pixel(at(0.25, of.q3)), pixel(at(0.75, of.q1)));
            canvas.fill(from, to, of_series(0, 1))?;
            canvas.frame(from, to, INK)?;
            canvas.stroke(&[at(0.25, of.median), at(0.75, of.median)], 3, INK)?;
            of.outliers.iter().try_for_each(|&x| canvas.dot(at(0.5, x), 2.5, FAINT))?;
        }
        self.frame.around(canvas)
    }
}
