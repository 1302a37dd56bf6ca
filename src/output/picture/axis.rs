//! An axis: the range it covers, where its ticks are, and where on it a value lies.

#[cfg(feature = "plots")]
use super::label::{all_trimmed, width};
use super::number::{number, scientific};

/// A linear or logarithmic range of values with ticks. Positions on it are fractions from 0 (its
/// lower end) to 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    /// The lower end; on a logarithmic axis, its base-10 logarithm.
    pub lo: f64,
    /// The upper end, likewise.
    pub hi: f64,
    log: bool,
    /// `lo` and `hi` are the ends divided by ten to this power. It is 0 unless the distance between
    /// two values might overflow an f64.
    power: i32,
    /// The position and the label of each tick.
    pub ticks: Vec<(f64, String)>,
    /// The positions of grid lines between ticks.
    pub minor: Vec<f64>,
}

/// How far the ends of an axis reach beyond its values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reach {
    /// The range is exactly that of the values.
    None,
    /// The range is slightly larger, so that no point lies on the frame.
    Little,
    /// The range extends to the next tick on both sides.
    Tick,
}

impl Axis {
    /// An axis for `values` with about `count` ticks at most. `None` if no value can be placed on
    /// it.
    pub fn new(
        values: impl Iterator<Item = f64>,
        log: bool,
        reach: Reach,
        count: usize,
    ) -> Option<Self> {
        let values: Vec<f64> = values.filter(|value| coordinate(*value, log).is_some()).collect();
        let mut whole = true;
        let (mut lo, mut hi) = (f64::INFINITY, f64::NEG_INFINITY);
        let power =
            if !log && values.iter().any(|value| value.abs() > LARGEST) { POWER } else { 0 };
        for value in values {
            let Some(at) = coordinate(value, log).map(|at| at * 10f64.powi(-power)) else {
                continue;
            };
            whole &= value.fract() == 0.0 && value.abs() < 1e9;
            (lo, hi) = (lo.min(at), hi.max(at));
        }
        if lo > hi {
            return None;
        }
        if hi - lo <= 1e-12 * hi.abs().max(lo.abs()) || hi - lo < 1e-290 {
            // A single value is placed in the middle.
            let around = if log {
                0.5
            } else if lo == 0.0 || whole {
                1.0
            } else {
                (0.1 * lo.abs()).max(1e-290)
            };
            (lo, hi) = (lo - around, hi + around);
        } else if reach == Reach::Little || log && reach == Reach::Tick {
            let little = 0.025 * (hi - lo);
            (lo, hi) = (lo - little, hi + little);
        }
        let mut axis = Self { lo, hi, log, power, ticks: vec![], minor: vec![] };
        match log {
            true => axis.tick_powers(count),
            false => axis.tick_evenly(count, whole, reach),
        }
        Some(axis)
    }

    /// An axis of names, each in the middle of an equal part. Of many, so many are ticks that they
    /// have about `room` columns of text together.
    #[cfg(feature = "plots")]
    pub fn of_names(names: &[String], room: usize) -> Self {
        let count = names.len().max(1);
        let shown = all_trimmed(names, (room / count).clamp(3, 24));
        let widest = shown.iter().map(|name| width(name)).max().unwrap_or(0) + 1;
        let every = (count * widest).div_ceil(room.max(1)).max(1);
        let place = |i: usize| (i as f64 + 0.5) / count as f64;
        let ticks = shown.into_iter().enumerate().step_by(every);
        let ticks = ticks.map(|(i, name)| (place(i), name)).collect();
        Self { lo: 0.0, hi: count as f64, log: false, power: 0, ticks, minor: vec![] }
    }

    /// The position of `value`, from 0 to 1; `None` if it can't be placed on the axis.
    pub fn place(&self, value: f64) -> Option<f64> {
        coordinate(value, self.log).map(|at| self.fraction(at * 10f64.powi(-self.power)))
    }

    /// The value at the position `fraction`, as text.
    pub fn label_at(&self, fraction: f64) -> String {
        let at = self.lo + (self.hi - self.lo) * fraction;
        self.raised(number(if self.log {
            10f64.powf(at)
        } else if at.abs() < 1e-9 * (self.hi - self.lo) {
            0.0
        } else {
            at
        }))
    }

    /// The text of a number that was divided by ten to the power `self.power`.
    fn raised(&self, text: String) -> String {
        match text
            .split_once('e')
            .and_then(|(mantissa, power)| Some((mantissa, power.parse::<i32>().ok()?)))
        {
            Some((mantissa, power)) => format!("{mantissa}e{}", power + self.power),
            None => text,
        }
    }

    fn fraction(&self, at: f64) -> f64 {
        ((at - self.lo) / (self.hi - self.lo)).clamp(0.0, 1.0)
    }

    fn tick_evenly(&mut self, count: usize, whole: bool, reach: Reach) {
        let mut step = nice_step(self.hi - self.lo, count);
        if whole {
            step = step.max(1.0);
        }
        if reach == Reach::Tick {
            self.lo = (self.lo / step + 1e-6).floor() * step;
            self.hi = (self.hi / step - 1e-6).ceil() * step;
        }
        self.ticks = multiples(self.lo, self.hi, step)
            .map(|tick| {
                (
                    self.fraction(tick),
                    self.raised(tick_label(tick, step, self.lo.abs().max(self.hi.abs()))),
                )
            })
            .collect();
    }

    fn tick_powers(&mut self, count: usize) {
        let (first, last) = (self.lo.ceil() as i32, self.hi.floor() as i32);
        if last - first >= 1 {
            let every = ((last - first) as usize).div_ceil(count.max(1)) as i32;
            for power in (first..=last).filter(|power| power.rem_euclid(every) == 0) {
                self.ticks.push((self.fraction(f64::from(power)), power_label(power)));
            }
            if every == 1 {
                self.minor = (first - 1..=last)
                    .flat_map(|power| {
                        (2..10).map(move |digit| f64::from(power) + f64::from(digit).log10())
                    })
                    .filter(|at| (self.lo..=self.hi).contains(at))
                    .map(|at| self.fraction(at))
                    .collect();
            }
        } else {
            // On a range of about a decade, one or two powers of ten are too few ticks.
            let (lo, hi) = (10f64.powf(self.lo), 10f64.powf(self.hi));
            let step = nice_step(hi - lo, 2 * count);
            self.ticks = multiples(lo, hi, step)
                .filter(|&tick| tick > 0.0)
                .map(|tick| (self.fraction(tick.log10()), tick_label(tick, step, hi)))
                .collect();
        }
    }
}

/// Values beyond this are divided by a power of ten, so that differences stay finite.
const LARGEST: f64 = 1e300;
const POWER: i32 = 20;

/// The coordinate of a value on a linear or logarithmic scale; `None` if it has none.
pub(super) fn coordinate(value: f64, log: bool) -> Option<f64> {
    match log {
        _ if !value.is_finite() => None,
        true => (value > 1e-300).then(|| value.log10()),
        false => Some(value),
    }
}

/// The smallest step of 1, 2 or 5 times a power of ten of which at most `count` make up `span`.
fn nice_step(span: f64, count: usize) -> f64 {
    let rough = span / count.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = match rough / power {
        part if part < 1.000001 => power,
        part if part < 2.000001 => 2.0 * power,
        part if part < 5.000001 => 5.0 * power,
        _ => 10.0 * power,
    };
    if step > 0.0 { step } else { span }
}

fn multiples(lo: f64, hi: f64, step: f64) -> impl Iterator<Item = f64> {
    let first = (lo / step - 1e-6).ceil();
    let count = ((hi / step + 1e-6).floor() - first).clamp(0.0, 100.0) as usize;
    (0..=count).map(move |i| first + i as f64).map(move |k| if k == 0.0 { 0.0 } else { k * step })
}

/// The label of a tick, with enough digits to tell it from the next one.
fn tick_label(tick: f64, step: f64, largest: f64) -> String {
    if tick == 0.0 {
        return "0".into();
    }
    if !(1e-4..1e6).contains(&largest) || step < 1e-9 {
        let digits = ((tick.abs() / step).log10() + 1e-6).floor().clamp(0.0, 15.0) as usize;
        return scientific(tick, digits);
    }
    let decimals = (-(step.log10() + 1e-6).floor()).clamp(0.0, 12.0) as usize;
    format!("{tick:.decimals$}")
}

fn power_label(power: i32) -> String {
    if (-3..=4).contains(&power) { number(10f64.powi(power)) } else { format!("1e{power}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], log: bool, reach: Reach) -> Vec<String> {
        let axis = Axis::new(values.iter().copied(), log, reach, 6).unwrap();
        axis.ticks.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(&[0.0, 11.0], false, Reach::Little), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(labels(&[0.0, 3.0], false, Reach::Little), ["0", "1", "2", "3"]);
        assert_eq!(
            labels(&[-0.31, 0.52], false, Reach::Tick),
            ["-0.4", "-0.2", "0", "0.2", "0.4", "0.6"]
        );
        assert_eq!(labels(&[1000.1, 1000.35], false, Reach::Tick).first().unwrap(), "1000.10");
        assert_eq!(
            labels(&[1e-8, 5e-8], false, Reach::Tick),
            ["1e-8", "2e-8", "3e-8", "4e-8", "5e-8"]
        );
    }

    #[test]
    fn log_ticks_are_powers() {
        assert_eq!(
            labels(&[1.0, 1e6], true, Reach::Little),
            ["1", "10", "100", "1000", "10000", "1e5", "1e6"]
        );
        assert_eq!(
            labels(&[2.0, 5.0], true, Reach::Little),
            ["2.0", "2.5", "3.0", "3.5", "4.0", "4.5", "5.0"]
        );
        assert!(labels(&[1e-250, 1e250], true, Reach::Little).len() < 10);
    }

    #[test]
    fn one_value_stands_in_the_middle() {
        for value in [0.0, 3.0, -2.5e-7, 1e299, 5e-324] {
            let axis = Axis::new([value].into_iter(), false, Reach::Tick, 6).unwrap();
            let place = axis.place(value).unwrap();
            assert!((0.2..=0.8).contains(&place), "{value} at {place}");
            assert!(axis.ticks.len() >= 2, "{axis:?}");
        }
    }

    #[test]
    fn the_largest_numbers_have_their_places() {
        let axis = Axis::new([-1e308, 1e308, 0.0].into_iter(), false, Reach::Tick, 6).unwrap();
        assert_eq!([-1e308, 0.0, 1e308].map(|x| axis.place(x).unwrap()), [0.0, 0.5, 1.0]);
        assert_eq!(
            labels(&[-1e308, 1e308], false, Reach::Tick),
            ["-1e308", "-5e307", "0", "5e307", "1e308"]
        );
        let axis = Axis::new([f64::MAX].into_iter(), false, Reach::Tick, 6).unwrap();
        assert!(
            (0.2..=0.8).contains(&axis.place(f64::MAX).unwrap())
                && !axis.label_at(1.0).contains("inf")
        );
        assert!(
            Axis::new([1.0, f64::MAX].into_iter(), true, Reach::Little, 6)
                .unwrap()
                .place(f64::MAX)
                .unwrap()
                > 0.9
        );
    }

    #[test]
    fn what_cannot_be_placed_is_left_out() {
        let bad = [f64::NAN, f64::INFINITY, -f64::INFINITY];
        assert_eq!(Axis::new(bad.into_iter(), false, Reach::Tick, 6), None);
        assert_eq!(Axis::new([0.0, -3.0].into_iter(), true, Reach::Tick, 6), None);
        assert!(
            Axis::new([1.0].into_iter(), false, Reach::Tick, 6)
                .unwrap()
                .place(f64::INFINITY)
                .is_none()
        );
    }
}
