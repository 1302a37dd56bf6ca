//! Plots of numbers over numbers: lines, or points by themselves.

use std::collections::BTreeSet;

use serde::Serialize;

use super::axis::{Axis, Reach, coordinate};
use super::json_number;
use super::label::trimmed;
use crate::{Result, bail, error};

/// Series of numbers over a common x axis.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct LinePlot {
    /// The title above the picture; may be empty.
    pub title: String,
    /// What the x axis shows; may be empty.
    pub xlabel: String,
    /// What the y axis shows; may be empty.
    pub ylabel: String,
    /// The x coordinates of every series.
    #[serde(serialize_with = "json_number::serialize")]
    pub x: Vec<f64>,
    /// The series.
    pub series: Vec<Series>,
    /// Whether the x axis is logarithmic.
    pub log_x: bool,
    /// Whether the y axis is logarithmic.
    pub log_y: bool,
    /// How the points of a series are drawn.
    pub kind: Kind,
}

/// How the points of a series are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Joined by a line, in their order.
    #[default]
    Line,
    /// Each by itself.
    Scatter,
}

/// One line of a [`LinePlot`].
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Series {
    /// The name in the legend; may be empty.
    pub label: String,
    /// The y coordinates, as many as the plot has x coordinates. Values that are not finite leave a
    /// gap.
    #[serde(serialize_with = "json_number::serialize")]
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

    /// The plot with about `most` points: of each stretch of the points, in their order, those stay
    /// at which a series has its least or its greatest number, and one at which a series has none.
    pub(super) fn thinned(&self, most: usize) -> Self {
        let count = self.series.len().max(1);
        // Each series keeps at most three points of a stretch, and all series have all points kept.
        let stretches = (most / (3 * count * count)).max(50);
        let length = self.x.len().div_ceil(stretches).max(1);
        let mut kept = BTreeSet::from([0, self.x.len().saturating_sub(1)]);
        for from in (0..self.x.len()).step_by(length) {
            let to = (from + length).min(self.x.len());
            for y in self.series.iter().map(|series| &series.y) {
                let shown = |i: &usize| self.x[*i].is_finite() && y[*i].is_finite();
                kept.extend((from..to).filter(shown).min_by(|&a, &b| y[a].total_cmp(&y[b])));
                kept.extend((from..to).filter(shown).max_by(|&a, &b| y[a].total_cmp(&y[b])));
                kept.extend((from..to).find(|i| !shown(i)));
            }
        }
        let of = |numbers: &[f64]| kept.iter().filter_map(|&i| numbers.get(i).copied()).collect();
        let series = self.series.iter();
        let series = series.map(|series| Series { label: series.label.clone(), y: of(&series.y) });
        Self { x: of(&self.x), series: series.collect(), ..self.clone() }
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

#[cfg(all(test, feature = "plots"))]
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
        let about =
            "<title>Loss &amp; more</title>\n<desc>A line plot of 2 series over 3 points.</desc>";
        assert!(svg.contains(about));
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
                // Pixels take a second without optimisation.
                if y[0] == -1e299 {
                    assert_eq!(picture.svg().is_ok(), picture.png().is_ok());
                }
            }
        }
    }

    #[test]
    fn a_scatter_plot_has_a_dot_for_each_point_and_no_line() {
        let xs: Vec<f64> = (0..60).map(f64::from).collect();
        let ys: Vec<f64> = xs.iter().map(|x| (x * 7.0) % 11.0).collect();
        let mut plot = plot(&xs, &[("", &ys)]);
        let line = Picture::Line(plot.clone());
        plot.kind = Kind::Scatter;
        let scatter = Picture::Line(plot);
        let svg = scatter.svg().unwrap();
        assert_eq!((thick(&svg), svg.matches("<circle").count()), (0, 60));
        // What joins the points is not drawn in the terminal either.
        let dots = |picture: &Picture| -> u32 {
            let text = picture.terminal(80, false).unwrap();
            text.chars()
                .filter(|c| ('\u{2800}'..='\u{28ff}').contains(c))
                .map(|c| (u32::from(c) - 0x2800).count_ones())
                .sum()
        };
        assert!((1..=60).contains(&dots(&scatter)) && dots(&line) > 60);
    }

    #[test]
    fn many_points_are_thinned_without_their_extremes() {
        let xs: Vec<f64> = (0..100_000).map(f64::from).collect();
        let mut ys: Vec<f64> = xs.iter().map(|x| (x * 0.37).sin()).collect();
        (ys[12_345], ys[77_777], ys[50_000]) = (9.0, -9.0, f64::NAN);
        let zs = xs.clone();
        let thin = plot(&xs, &[("a", &ys), ("b", &zs)]).thinned(40_000);
        assert!(thin.x.len() < 40_000, "{}", thin.x.len());
        assert_eq!((thin.x[0], *thin.x.last().unwrap()), (0.0, 99_999.0));
        for extreme in [9.0, -9.0] {
            assert!(thin.series[0].y.contains(&extreme));
        }
        assert_eq!(thin.series[0].y.iter().filter(|y| y.is_nan()).count(), 1, "a gap stays one");
        assert_eq!(thin.series[1].y, thin.x);
    }

    #[test]
    fn a_single_point_is_a_dot() {
        let svg = Picture::Line(plot(&[3.0], &[("", &[7.0])])).svg().unwrap();
        assert_eq!((thick(&svg), svg.matches("<circle").count()), (0, 1));
    }
}
