//! Box plots: the quartiles of some sets of numbers, and what lies far from them.

use serde::Serialize;

use super::axis::{Axis, Reach, coordinate};
use super::bars::quantile;
use super::json_number;
use super::line::Series;
use crate::{Result, bail, error};

/// The most single points that are kept of a set, half of them from each end.
const MOST_OUTLIERS: usize = 400;

/// Boxes beside each other.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Boxes {
    /// The title above the picture; may be empty.
    pub title: String,
    /// What the boxes are; may be empty.
    pub xlabel: String,
    /// What their numbers are; may be empty.
    pub ylabel: String,
    /// The boxes.
    pub boxes: Vec<Summary>,
    /// Whether the y axis is logarithmic.
    pub log_y: bool,
}

/// A set of numbers in short, as Tukey drew it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// What the numbers are.
    pub label: String,
    /// How many are finite.
    pub count: usize,
    /// The smallest that is within one and a half times the distance of the quartiles.
    #[serde(serialize_with = "json_number::serialize")]
    pub low: f64,
    /// The first quartile.
    #[serde(serialize_with = "json_number::serialize")]
    pub q1: f64,
    /// The median.
    #[serde(serialize_with = "json_number::serialize")]
    pub median: f64,
    /// The third quartile.
    #[serde(serialize_with = "json_number::serialize")]
    pub q3: f64,
    /// The largest within that distance.
    #[serde(serialize_with = "json_number::serialize")]
    pub high: f64,
    /// What lies outside of it; of very many the most extreme.
    #[serde(serialize_with = "json_number::serialize")]
    pub outliers: Vec<f64>,
}

impl Summary {
    /// The summary of the finite numbers of a series.
    ///
    /// # Errors
    /// None is finite.
    pub fn of(series: Series) -> Result<Self> {
        let mut sorted: Vec<f64> = series.y.into_iter().filter(|x| x.is_finite()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        if sorted.is_empty() {
            return Err(error!("box {:?} has no finite number", series.label)
                .help("look for NaN and infinity in what is drawn"));
        }
        let [q1, median, q3] = [0.25, 0.5, 0.75].map(|q| quantile(&sorted, q));
        let reach = 1.5 * (q3 - q1);
        let within = |x: &f64| (q1 - reach..=q3 + reach).contains(x);
        let low = sorted.iter().copied().find(within).unwrap_or(q1);
        let high = sorted.iter().rev().copied().find(within).unwrap_or(q3);
        let mut outliers: Vec<f64> = sorted.iter().copied().filter(|x| !within(x)).collect();
        if outliers.len() > MOST_OUTLIERS {
            outliers.drain(MOST_OUTLIERS / 2..outliers.len() - MOST_OUTLIERS / 2);
        }
        Ok(Self { label: series.label, count: sorted.len(), low, q1, median, q3, high, outliers })
    }

    /// The five numbers of the box, from the lowest.
    pub(super) fn numbers(&self) -> [f64; 5] {
        [self.low, self.q1, self.median, self.q3, self.high]
    }
}

impl Boxes {
    /// The labels of the boxes: their own, or their indices.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |(i, of): (usize, &Summary)| match of.label.is_empty() {
            true => i.to_string(),
            false => super::label::token(&of.label),
        };
        self.boxes.iter().enumerate().map(name).collect()
    }

    /// The axis of the numbers.
    ///
    /// # Errors
    /// No box, or on a log axis a number that is not above zero.
    pub(super) fn axis(&self, reach: Reach, ticks: usize) -> Result<Axis> {
        if self.boxes.is_empty() {
            bail!("a box plot needs at least one box");
        }
        let all = self.boxes.iter().flat_map(|of| of.outliers.iter().copied().chain(of.numbers()));
        if let Some(x) = all.clone().find(|&x| coordinate(x, self.log_y).is_none()) {
            return Err(error!("a box plot on a log axis has the number {}", super::number(x))
                .help("draw it without log"));
        }
        Axis::new(all, self.log_y, reach, ticks)
            .ok_or_else(|| error!("there is nothing to draw: no number is finite"))
    }
}

#[cfg(all(test, feature = "plots"))]
mod tests {
    use super::*;
    use crate::output::picture::Picture;

    fn summary(label: &str, y: &[f64]) -> Summary {
        Summary::of(Series { label: label.into(), y: y.to_vec() }).unwrap()
    }

    #[test]
    fn quartiles_are_pytorchs_and_whiskers_tukeys() {
        let of = summary("a", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 100.0, f64::NAN]);
        // torch.quantile of the eight numbers at 0.25, 0.5 and 0.75.
        assert_eq!(of.numbers(), [1.0, 2.75, 4.5, 6.25, 7.0]);
        assert_eq!((of.outliers, of.count), (vec![100.0], 8));
        let far: Vec<f64> =
            (0..5000).map(|i| if i % 2 == 0 { 0.0 } else { f64::from(i) }).collect();
        let mut many = vec![0.0; 20_000];
        many.extend(far);
        let of = summary("", &many);
        assert_eq!(of.outliers.len(), MOST_OUTLIERS);
        assert_eq!(of.outliers.last(), Some(&4999.0), "the most extreme stays");
    }

    #[test]
    fn boxes_are_drawn_in_every_form() {
        let boxes = vec![summary("one & only", &[1.0, 2.0, 4.0, 30.0, 3.0]), summary("", &[5.0])];
        let picture = Picture::Boxes(Boxes { title: "Norms".into(), boxes, ..Boxes::default() });
        let svg = picture.svg().unwrap();
        for text in ["Norms", "one &amp; only", "1"] {
            assert!(svg.lines().any(|line| line == text), "{text} in {svg}");
        }
        assert_eq!(svg.matches("<circle").count(), 1, "one number lies outside");
        assert!(picture.png().is_ok());
        for width in [24, 80] {
            let text = picture.terminal(width, false).unwrap();
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
            assert!(text.contains("Norms") && text.contains('┃'), "{text}");
        }
        let Picture::Boxes(mut low) = picture else { unreachable!() };
        low.boxes.push(summary("neg", &[-1.0]));
        low.log_y = true;
        let message = Picture::Boxes(low).svg().unwrap_err().message().to_owned();
        assert_eq!(message, "a box plot on a log axis has the number -1");
    }
}
