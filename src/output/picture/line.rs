//! Line plots.

use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::{Axis, Reach, coordinate};
use super::canvas::{Canvas, Draw, Type};
use super::colour::{FAINT, FRAME, GRID, INK, MINOR, of_series};
use super::label::{trimmed, visible};
use crate::{Result, bail, error};

/// Series of numbers over a common x axis.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LinePlot {
    /// The title above the picture; may be empty.
    pub title: String,
    /// What the x axis shows; may be empty.
    pub xlabel: String,
    /// What the y axis shows; may be empty.
    pub ylabel: String,
    /// The x coordinates of every series.
    pub x: Vec<f64>,
    /// The series.
    pub series: Vec<Series>,
    /// Whether the x axis is logarithmic.
    pub log_x: bool,
    /// Whether the y axis is logarithmic.
    pub log_y: bool,
}

/// One line of a [`LinePlot`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// The name in the legend; may be empty.
    pub label: String,
    /// The y coordinates, as many as the plot has x coordinates. Values that are not finite leave a
    /// gap.
    pub y: Vec<f64>,
}

impl LinePlot {
    /// Checks that the plot can be drawn.
    ///
    /// # Errors
    /// No series, no numbers, or a series that is not as long as x.
    pub fn validate(&self) -> Result<()> {
        if self.x.is_empty() || self.series.is_empty() {
            bail!("a plot needs at least one series of at least one number");
        }
        for (i, series) in self.series.iter().enumerate() {
            if series.y.len() != self.x.len() {
                let name = if series.label.is_empty() {
                    format!("{i}")
                } else {
                    format!("{:?}", trimmed(&series.label, 40))
                };
                bail!("series {name} has {} numbers where x has {}", series.y.len(), self.x.len());
            }
        }
        Ok(())
    }

    /// The x and the y axis. `across` and `down` say how far each reaches and about how many ticks
    /// it has.
    ///
    /// # Errors
    /// As for [`validate`](Self::validate); or no point can be placed on both axes.
    pub(super) fn axes(
        &self,
        across: (Reach, usize),
        down: (Reach, usize),
    ) -> Result<(Axis, Axis)> {
        self.validate()?;
        // A point that can't be placed on one axis must not extend the other.
        let place = |log: bool, value: f64| coordinate(value, log).is_some();
        let shown: Vec<bool> = self.x.iter().map(|&x| place(self.log_x, x)).collect();
        let on_x = |i: usize| self.series.iter().any(|series| place(self.log_y, series.y[i]));
        let xs = self.x.iter().enumerate().filter(|&(i, _)| on_x(i)).map(|(_, &x)| x);
        let ys = self
            .series
            .iter()
            .flat_map(|series| series.y.iter().zip(&shown))
            .filter(|(_, shown)| **shown);
        let x = Axis::new(xs, self.log_x, across.0, across.1);
        let y = Axis::new(ys.map(|(&y, _)| y), self.log_y, down.0, down.1);
        x.zip(y).ok_or_else(|| {
            let (what, help) = if self.log_x || self.log_y {
                (
                    "no point is finite and above zero on its log axes",
                    "draw it without log_x and log_y",
                )
            } else {
                ("no point is finite", "look for NaN and infinity in what is drawn")
            };
            error!("there is nothing to plot: {what}").help(help)
        })
    }

    /// The points of a series as positions from 0 to 1 on both axes. A point that can't be placed
    /// ends a run.
    pub(super) fn runs(&self, series: &Series, x: &Axis, y: &Axis) -> Vec<Vec<(f64, f64)>> {
        let places: Vec<Option<(f64, f64)>> = self
            .x
            .iter()
            .zip(&series.y)
            .map(|(&at, &value)| x.place(at).zip(y.place(value)))
            .collect();
        places
            .split(Option::is_none)
            .filter(|run| !run.is_empty())
            .map(|run| run.iter().flatten().copied().collect())
            .collect()
    }
}

const SIZE: (i32, i32) = (960, 600);
const LEGEND: f64 = 15.0;
const STEP: i32 = 20;

/// A plot with its axes, ready to be drawn.
pub(super) struct Layout<'a> {
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
        let dotted = self.plot.x.len() <= 40 && count <= 8;
        for (i, series) in self.plot.series.iter().enumerate() {
            for run in self.plot.runs(series, &self.x, &self.y) {
                let points: Vec<(f64, f64)> =
                    run.into_iter().map(|place| self.point(place)).collect();
                if points.len() > 1 {
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
    let named = plot.series.iter().enumerate().step_by(every);
    named
        .map(|(i, series)| (i, trimmed(&visible(&series.label), 26)))
        .filter(|(_, label)| !label.is_empty())
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::picture::Picture;

    fn plot(x: &[f64], series: &[(&str, &[f64])]) -> LinePlot {
        let series = series
            .iter()
            .map(|(label, y)| Series { label: label.to_string(), y: y.to_vec() })
            .collect();
        LinePlot {
            title: "Loss".into(),
            xlabel: "step".into(),
            ylabel: "nats".into(),
            x: x.to_vec(),
            series,
            ..Default::default()
        }
    }

    fn thick(svg: &str) -> usize {
        svg.lines()
            .filter(|line| line.starts_with("<polyline") && line.contains("stroke-width=\"2\""))
            .count()
    }

    #[test]
    fn svg_has_all_that_was_given() {
        let mut plot =
            plot(&[1.0, 2.0, 3.0], &[("a<b", &[1.0, 3.0, 2.0]), ("second", &[0.0, 1.0, 5.0])]);
        plot.title = "Loss & more".into();
        let svg = Picture::Line(plot).svg().unwrap();
        for text in ["Loss &amp; more", "step", "nats", "a&lt;b", "second"] {
            assert!(svg.lines().any(|line| line == text), "{text} in {svg}");
        }
        assert_eq!(thick(&svg), 2);
        assert!(svg.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn gaps_break_a_line() {
        let plot =
            plot(&[0.0, 1.0, 2.0, 3.0, 4.0], &[("", &[1.0, 2.0, f64::NAN, 4.0, f64::INFINITY])]);
        let svg = Picture::Line(plot).svg().unwrap();
        assert_eq!(thick(&svg), 1);
        assert_eq!(svg.matches("<circle").count(), 3);
    }

    #[test]
    fn log_axes_leave_out_what_is_not_positive() {
        let mut plot = plot(&[0.0, 10.0, 100.0, 1000.0], &[("", &[5.0, 1.0, -1.0, 0.1])]);
        (plot.log_x, plot.log_y) = (true, true);
        let svg = Picture::Line(plot.clone()).svg().unwrap();
        assert_eq!(svg.matches("<circle").count(), 2);
        plot.series[0].y = vec![1.0, 0.0, -1.0, f64::NAN];
        let error = Picture::Line(plot).svg().unwrap_err();
        assert_eq!(
            error.message(),
            "there is nothing to plot: no point is finite and above zero on its log axes"
        );
    }

    #[test]
    fn what_cannot_be_drawn_is_said() {
        let message = |plot: LinePlot| {
            Picture::Line(plot).terminal(80, false).unwrap_err().message().to_owned()
        };
        assert_eq!(
            message(plot(&[], &[("", &[])])),
            "a plot needs at least one series of at least one number"
        );
        assert_eq!(
            message(plot(&[1.0], &[])),
            "a plot needs at least one series of at least one number"
        );
        assert_eq!(
            message(plot(&[1.0], &[("w", &[1.0, 2.0])])),
            "series \"w\" has 2 numbers where x has 1"
        );
        assert_eq!(
            message(plot(&[1.0], &[("", &[f64::NAN])])),
            "there is nothing to plot: no point is finite"
        );
    }

    #[test]
    fn odd_numbers_are_drawn() {
        let xs: [&[f64]; 3] =
            [&[1.0, 1.0, 1.0], &[-1e308, 0.0, 1e308], &[f64::INFINITY, 1e-320, 1e299]];
        let ys: [&[f64]; 4] = [
            &[2.0, 2.0, 2.0],
            &[f64::NAN, 5e-324, 0.0],
            &[-1e299, 1e299, f64::NEG_INFINITY],
            &[1e15, 1e15 + 1.0, 1e15],
        ];
        for (x, y) in xs.iter().flat_map(|x| ys.iter().map(move |y| (x, y))) {
            for log in [false, true] {
                let mut plot = plot(x, &[("s", y)]);
                (plot.log_x, plot.log_y) = (log, log);
                let picture = Picture::Line(plot);
                assert_eq!(picture.svg().is_ok(), picture.terminal(60, true).is_ok());
                assert_eq!(picture.svg().is_ok(), picture.png().is_ok());
            }
        }
    }

    #[test]
    fn a_single_point_is_a_dot() {
        let svg = Picture::Line(plot(&[3.0], &[("", &[7.0])])).svg().unwrap();
        assert_eq!((thick(&svg), svg.matches("<circle").count()), (0, 1));
    }
}
