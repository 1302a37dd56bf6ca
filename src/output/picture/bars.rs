//! Bars: a value for each name, or how many numbers lie in each interval.

use serde::Serialize;

#[cfg(feature = "plots")]
use super::axis::{Axis, Reach};
use super::json_number;
use super::label::of_places;
use super::line::Series;
use crate::{Result, bail, error};

/// The most intervals of a histogram.
pub const MOST_BINS: usize = 1000;

/// The most that are chosen where a script does not say.
const CHOSEN: usize = 200;

/// Bars that stand on zero, those of several series beside each other.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Bars {
    /// The title above the picture; may be empty.
    pub title: String,
    /// What the bars are; may be empty.
    pub xlabel: String,
    /// What their heights are; may be empty.
    pub ylabel: String,
    /// The names of the bars. Empty means their indices, or the intervals between `edges`.
    pub names: Vec<String>,
    /// Of a histogram, the ends of its intervals, one more than there are bars; otherwise empty.
    #[serde(serialize_with = "json_number::serialize")]
    pub edges: Vec<f64>,
    /// The heights.
    pub series: Vec<Series>,
}

impl Bars {
    /// A histogram of the finite numbers of each series, over intervals that all share. Without
    /// `bins` their number is that of Freedman and Diaconis or of Sturges, the larger, as NumPy's
    /// `auto` has it. The last interval holds its end.
    ///
    /// # Errors
    /// No number is finite.
    pub fn histogram(samples: Vec<Series>, bins: Option<usize>) -> Result<Self> {
        let mut all: Vec<f64> =
            samples.iter().flat_map(|s| &s.y).copied().filter(|x| x.is_finite()).collect();
        all.sort_unstable_by(f64::total_cmp);
        let (Some(&first), Some(&last)) = (all.first(), all.last()) else {
            return Err(error!("there is nothing to count: no number is finite")
                .help("look for NaN and infinity in what is drawn"));
        };
        // A single value has an interval of one around it.
        let (lo, hi) = if first < last { (first, last) } else { (first - 0.5, last + 0.5) };
        let count = bins.unwrap_or_else(|| automatic(&all)).clamp(1, MOST_BINS);
        let edge = |i: usize| {
            let part = i as f64 / count as f64;
            lo * (1.0 - part) + hi * part
        };
        let edges: Vec<f64> = (0..=count).map(edge).collect();
        let counted = |series: Series| {
            let mut y = vec![0.0; count];
            for x in series.y.into_iter().filter(|x| x.is_finite()) {
                y[edges[1..count].partition_point(|&edge| edge <= x)] += 1.0;
            }
            Series { label: series.label, y }
        };
        let series = samples.into_iter().map(counted).collect();
        Ok(Self { edges, series, ylabel: "count".into(), ..Self::default() })
    }

    /// How many bars a series has.
    pub(super) fn count(&self) -> usize {
        self.series.first().map_or(0, |series| series.y.len())
    }

    /// The name of each bar: of a histogram, its interval.
    pub(super) fn names(&self) -> Vec<String> {
        if self.edges.is_empty() {
            return of_places(&self.names, self.count());
        }
        let interval =
            |ends: &[f64]| format!("{} … {}", super::number(ends[0]), super::number(ends[1]));
        self.edges.windows(2).map(interval).collect()
    }

    /// Checks that the bars can be drawn.
    ///
    /// # Errors
    /// No bars, series of different lengths, names whose number does not fit, or no finite height.
    pub fn validate(&self) -> Result<()> {
        let count = self.count();
        if count == 0 {
            bail!("bars need at least one series of at least one number");
        }
        if let Some(other) = self.series.iter().find(|series| series.y.len() != count) {
            bail!("a series has {} bars where the first has {count}", other.y.len());
        }
        if !self.names.is_empty() && self.names.len() != count {
            bail!("bars have {} names for {count} values", self.names.len());
        }
        if !self.series.iter().flat_map(|series| &series.y).any(|y| y.is_finite()) {
            return Err(error!("there is nothing to draw: no value is finite")
                .help("look for NaN and infinity in what is drawn"));
        }
        Ok(())
    }

    /// The axes: of names or of intervals, and of heights, which holds zero.
    ///
    /// # Errors
    /// As for [`validate`](Self::validate).
    #[cfg(feature = "plots")]
    pub(super) fn axes(&self) -> Result<(Axis, Axis)> {
        self.validate()?;
        let x = match self.edges.is_empty() {
            true => Some(Axis::of_names(&self.names(), 96)),
            false => Axis::new(self.edges.iter().copied(), false, Reach::None, 8),
        };
        let heights = self.series.iter().flat_map(|series| &series.y).copied();
        let y = Axis::new(heights.chain([0.0]), false, Reach::Tick, 7);
        x.zip(y).ok_or_else(|| error!("there is nothing to draw: no value is finite"))
    }
}

/// The number of intervals for sorted numbers.
fn automatic(sorted: &[f64]) -> usize {
    let n = sorted.len() as f64;
    let range = sorted[sorted.len() - 1] - sorted[0];
    let sturges = n.log2().ceil() + 1.0;
    let width = 2.0 * (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / n.cbrt();
    let freedman = if width > 0.0 { (range / width).ceil() } else { 0.0 };
    (sturges.max(freedman) as usize).clamp(1, CHOSEN)
}

/// The quantile of sorted numbers, between two of them by their distances, as PyTorch's `quantile`.
pub(super) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(all(test, feature = "plots"))]
mod tests {
    use super::*;
    use crate::output::picture::Picture;

    fn series(y: &[f64]) -> Series {
        Series { label: String::new(), y: y.to_vec() }
    }

    #[test]
    fn intervals_hold_every_finite_number_once() {
        // As numpy.histogram([1, 2, 2, 3, 4], 3) counts.
        let bars = Bars::histogram(vec![series(&[1.0, 2.0, 2.0, 3.0, 4.0, f64::NAN])], Some(3));
        let bars = bars.unwrap();
        assert_eq!(bars.edges, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(bars.series[0].y, [1.0, 2.0, 2.0]);
        let one = Bars::histogram(vec![series(&[7.0; 3])], Some(1)).unwrap();
        assert_eq!((one.edges[0], one.edges[1], one.series[0].y[0]), (6.5, 7.5, 3.0));
        let many: Vec<f64> = (0..1000).map(|i| f64::from(i).sin()).collect();
        let bars = Bars::histogram(vec![series(&many)], None).unwrap();
        assert_eq!(bars.series[0].y.iter().sum::<f64>(), 1000.0);
        // numpy.histogram_bin_edges(x, "auto") has 12 edges.
        assert_eq!(bars.edges.len(), 12);
        assert!(Bars::histogram(vec![series(&[f64::NAN])], None).is_err());
        // The sum of the two would overflow.
        assert!(Bars::histogram(vec![series(&[-1e308, 1e308])], None).is_ok());
    }

    #[test]
    fn bars_stand_on_zero_in_every_form() {
        let bars = Bars {
            title: "Heads".into(),
            names: vec![" a".into(), "<b>".into(), "c".into()],
            series: vec![series(&[1.0, -2.0, f64::NAN]), series(&[0.5, 0.5, 3.0])],
            ..Bars::default()
        };
        let picture = Picture::Bars(bars.clone());
        let svg = picture.svg().unwrap();
        for text in ["Heads", "·a", "&lt;b&gt;"] {
            assert!(svg.lines().any(|line| line == text), "{text} in {svg}");
        }
        assert_eq!(svg.matches("fill=\"#0072B2\"").count(), 2, "a bar for each finite value");
        assert_eq!(svg.matches("fill=\"#D55E00\"").count(), 3);
        assert!(picture.png().is_ok());
        for width in [24, 80] {
            let text = picture.terminal(width, false).unwrap();
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
            assert!(text.contains("nan") && text.contains("-2"), "{text}");
        }
        let short = Bars { names: vec!["a".into()], ..bars };
        let message = Picture::Bars(short).svg().unwrap_err().message().to_owned();
        assert_eq!(message, "bars have 1 names for 3 values");
    }
}
