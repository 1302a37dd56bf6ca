//! The colours of pictures: fixed ones, those of series, and scales from values to colours.

use serde::Serialize;

use super::json_number;
use super::number::number;
use crate::{Result, bail, error};

/// Red, green and blue.
pub(super) type Rgb = (u8, u8, u8);

/// Text and lines.
pub(super) const INK: Rgb = (38, 38, 46);
/// Text of less importance, such as tick labels.
pub(super) const FAINT: Rgb = (98, 98, 110);
/// Grid lines at ticks.
pub(super) const GRID: Rgb = (228, 229, 233);
/// Grid lines between ticks.
pub(super) const MINOR: Rgb = (242, 243, 245);
/// The frame around a picture.
pub(super) const FRAME: Rgb = (150, 152, 160);
/// NaN.
pub(super) const MISSING: Rgb = (190, 190, 190);
/// The background.
pub(super) const PAPER: Rgb = (255, 255, 255);

/// The palette of Okabe and Ito, which people with colour blindness can tell apart.
const DISTINCT: [Rgb; 8] = [
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (90, 90, 90),
    (190, 175, 20),
];

const VIRIDIS: [Rgb; 11] = [
    (68, 1, 84),
    (72, 36, 117),
    (65, 68, 135),
    (53, 95, 141),
    (42, 120, 142),
    (33, 145, 140),
    (34, 168, 132),
    (68, 191, 112),
    (122, 209, 81),
    (189, 223, 38),
    (253, 231, 37),
];

const BLUE_WHITE_RED: [Rgb; 9] = [
    (5, 48, 97),
    (33, 102, 172),
    (67, 147, 195),
    (146, 197, 222),
    (247, 247, 247),
    (244, 165, 130),
    (214, 96, 77),
    (178, 24, 43),
    (103, 0, 31),
];

/// The colour of series `index` of `count`: a distinct one if there are enough, else one of a ramp,
/// which suits an ordered series such as layers.
pub(super) fn of_series(index: usize, count: usize) -> Rgb {
    if count <= DISTINCT.len() {
        return DISTINCT[index % DISTINCT.len()];
    }
    // The bright yellow at the end of viridis can't be seen on white.
    ramp(&VIRIDIS, 0.9 * index as f64 / (count - 1) as f64)
}

/// The colour of a line on white whose value is `share`, -1 to 1, of the largest: blue below zero, red
/// above it, and pale, but not so pale that it can't be seen, near zero.
pub(super) fn of_share(share: f64) -> Rgb {
    let reach = 0.35 + 0.65 * share.abs().min(1.0);
    ramp(&BLUE_WHITE_RED, 0.5 + 0.5 * reach.copysign(share))
}

/// A scale from values to colours: viridis if all values have one sign, blue through white at zero
/// to red if both signs occur.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    /// The value of the first colour.
    pub lo: f64,
    /// The value of the last colour.
    pub hi: f64,
    diverging: bool,
}

/// Fixed ends of a scale. An end that is `None` follows the values.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Bounds {
    /// The lower end.
    #[serde(serialize_with = "json_number::serialize")]
    pub min: Option<f64>,
    /// The upper end.
    #[serde(serialize_with = "json_number::serialize")]
    pub max: Option<f64>,
}

impl Scale {
    /// The scale of `values`.
    ///
    /// # Errors
    /// No value is finite.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Result<Self> {
        Self::within(values, Bounds::default())
    }

    /// The scale of `values` with the ends that `bounds` fix.
    ///
    /// # Errors
    /// No finite value for an end that is not fixed, or bounds that are not finite or not in order.
    pub fn within(values: impl IntoIterator<Item = f64>, bounds: Bounds) -> Result<Self> {
        for (name, bound) in [("min", bounds.min), ("max", bounds.max)] {
            if let Some(bound) = bound.filter(|bound| !bound.is_finite()) {
                bail!("{name} must be a finite number, not {}", number(bound));
            }
        }
        let finite = values.into_iter().filter(|x| x.is_finite());
        let (lo, hi) =
            finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), x| (lo.min(x), hi.max(x)));
        let (lo, hi) = (bounds.min.unwrap_or(lo), bounds.max.unwrap_or(hi));
        if lo > hi && lo.is_finite() && hi.is_finite() {
            return Err(error!("the scale can't go from {} to {}", number(lo), number(hi))
                .help("min is below max, and below a value where max is open"));
        }
        if lo > hi {
            return Err(error!("there is nothing to draw: no value is finite")
                .help("look for NaN and infinity in what is drawn"));
        }
        let diverging = lo < 0.0 && hi > 0.0;
        let reach = hi.max(-lo);
        // Symmetric about zero, except for an end that is fixed.
        let (low, high) = if diverging { (-reach, reach) } else { (lo, hi) };
        Ok(Self { lo: bounds.min.unwrap_or(low), hi: bounds.max.unwrap_or(high), diverging })
    }

    /// The scale extended to include zero, for values such as probabilities.
    pub fn with_zero(self) -> Self {
        Self { lo: self.lo.min(0.0), hi: self.hi.max(0.0), ..self }
    }

    /// The position of `x` from 0 to 1. `None` for NaN; an end for a value beyond it; the middle if
    /// the scale has a single value.
    pub fn fraction(&self, x: f64) -> Option<f64> {
        if x.is_nan() {
            return None;
        }
        if self.lo == self.hi {
            return Some(if x < self.lo {
                0.0
            } else if x > self.hi {
                1.0
            } else {
                0.5
            });
        }
        let unit = self.unit();
        let (lo, hi) = (self.lo * unit, self.hi * unit);
        Some(((x.clamp(self.lo, self.hi) * unit - lo) / (hi - lo)).clamp(0.0, 1.0))
    }

    /// The colour of `x`.
    pub fn colour(&self, x: f64) -> Rgb {
        self.fraction(x).map_or(MISSING, |fraction| self.at(fraction))
    }

    /// A factor by which the ends are multiplied before they are subtracted, so that the difference
    /// does not overflow.
    fn unit(&self) -> f64 {
        if (self.hi - self.lo).is_finite() { 1.0 } else { 0.25 }
    }

    /// The value at the position `fraction`.
    pub fn value(&self, fraction: f64) -> f64 {
        self.lo * (1.0 - fraction) + self.hi * fraction
    }

    /// The colour at the position `fraction`. If both signs occur, zero is white.
    pub fn at(&self, fraction: f64) -> Rgb {
        if !self.diverging {
            return ramp(&VIRIDIS, fraction);
        }
        let reach = self.hi.max(-self.lo);
        ramp(&BLUE_WHITE_RED, 0.5 + 0.5 * (self.value(fraction) / reach))
    }
}

/// Black or white, whichever is readable on the background `ground`.
pub(super) fn readable_on(ground: Rgb) -> Rgb {
    let light =
        0.299 * f64::from(ground.0) + 0.587 * f64::from(ground.1) + 0.114 * f64::from(ground.2);
    if light > 140.0 { INK } else { PAPER }
}

fn ramp(colours: &[Rgb], fraction: f64) -> Rgb {
    let place = fraction.clamp(0.0, 1.0) * (colours.len() - 1) as f64;
    let below = (place.floor() as usize).min(colours.len() - 2);
    let part = place - below as f64;
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * part).round() as u8;
    let (a, b) = (colours[below], colours[below + 1]);
    (mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_signs_centre_on_zero() {
        let scale = Scale::of([-1.0, 4.0, f64::NAN, f64::INFINITY]).unwrap();
        assert_eq!((scale.lo, scale.hi), (-4.0, 4.0));
        assert_eq!(scale.colour(0.0), (247, 247, 247));
        assert_eq!(scale.colour(f64::NAN), MISSING);
        assert_eq!(scale.colour(f64::INFINITY), (103, 0, 31));
    }

    #[test]
    fn one_sign_keeps_its_range() {
        let scale = Scale::of([2.0, 3.0]).unwrap();
        assert_eq!((scale.colour(2.0), scale.colour(3.0)), ((68, 1, 84), (253, 231, 37)));
        assert_eq!(scale.with_zero().lo, 0.0);
        assert_eq!(Scale::of([5.0; 3]).unwrap().fraction(5.0), Some(0.5));
        assert!(Scale::of([f64::NAN]).is_err());
    }

    #[test]
    fn series_differ() {
        for count in [2, 8, 9, 48] {
            assert!((1..count).all(|i| of_series(i, count) != of_series(i - 1, count)));
        }
    }
}
