//! `plot`: lines, points, bars, histograms and boxes, read from a script's values.

use rhai::{Array, Dynamic, Map};

use super::super::numbers::{labels, matrix, numbers};
use super::{Named, name, text};
use crate::output::picture::{Bars, Boxes, Kind, LinePlot, MOST_BINS, Picture, Series, Summary};
use crate::script::value::Handle;
use crate::script::value::options::{Options, float};
use crate::script::value::record;
use crate::system::message;
use crate::{Result, bail, error};

const OPTIONS: [&str; 10] =
    ["title", "x", "y", "log", "kind", "labels", "xlabel", "ylabel", "bins", "name"];

const KINDS: [&str; 5] = ["line", "scatter", "bar", "hist", "box"];

/// What all kinds of plots have.
struct Plot {
    options: Options,
    y: Dynamic,
    kind: &'static str,
    log_x: bool,
    log_y: bool,
}

/// The picture of `plot(options)`.
pub(super) fn plot(options: Map) -> Result<Named> {
    let options = Options::new("plot", options, &OPTIONS)?;
    let Some(y) = options.get("y") else {
        return Err(error!("plot needs y").help("as in plot(#{y: losses})"));
    };
    let log = text(&options, "log")?;
    if !["", "x", "y", "xy", "yx"].contains(&log.as_str()) {
        bail!("plot: log must be \"x\", \"y\" or \"xy\", not {log:?}");
    }
    let asked = text(&options, "kind")?;
    let Some(kind) = KINDS.into_iter().find(|name| asked.is_empty() || *name == asked) else {
        let names = KINDS.map(|name| format!("{name:?}")).join(", ");
        bail!("plot: kind must be one of {names}, not {asked:?}");
    };
    if kind != "hist" && options.get("bins").is_some() {
        bail!("plot: bins are those of kind \"hist\", and this is a {kind:?}");
    }
    let plot = Plot { options, y, kind, log_x: log.contains('x'), log_y: log.contains('y') };
    let picture = match kind {
        "bar" => plot.bars()?,
        "hist" => plot.histogram()?,
        "box" => plot.boxes()?,
        _ => plot.lines()?,
    };
    Ok((picture, name(&plot.options)?))
}

impl Plot {
    fn lines(&self) -> Result<Picture> {
        let series = self.series(labels(self.options.get("labels").as_ref(), "labels")?)?;
        let longest = series.iter().map(|series| series.y.len()).max().unwrap_or(0);
        let x = match self.options.get("x") {
            Some(x) => numbers(&x, "plot: x")?,
            None => (0..longest).map(|i| i as f64).collect(),
        };
        if let Some(other) = series.iter().find(|series| series.y.len() != x.len()) {
            bail!("plot: x has {} points, and a series of y has {}", x.len(), other.y.len());
        }
        let lost = |y: &Series| {
            x.iter().zip(&y.y).filter(|(x, y)| !x.is_finite() || !y.is_finite()).count()
        };
        warn_of_lost(series.iter().map(lost).sum(), x.len() * series.len(), "points");
        Ok(Picture::Line(LinePlot {
            title: text(&self.options, "title")?,
            xlabel: text(&self.options, "xlabel")?,
            ylabel: text(&self.options, "ylabel")?,
            x,
            series,
            log_x: self.log_x,
            log_y: self.log_y,
            kind: if self.kind == "scatter" { Kind::Scatter } else { Kind::Line },
        }))
    }

    fn bars(&self) -> Result<Picture> {
        self.refuse_log(self.log_x || self.log_y, "bars stand on zero")?;
        let mut names = labels(self.options.get("x").as_ref(), "plot: x")?.unwrap_or_default();
        let heights = record::read(&self.y).and_then(|map| {
            let height = |value: &Dynamic| float(value).or_else(|| one_number(value));
            map.iter().map(|(name, value)| Some((name.to_string(), height(value)?))).collect()
        });
        // A map from name to number is a bar for each; other maps are series, as for lines.
        let series = match heights {
            Some::<Vec<_>>(heights) if names.is_empty() => {
                let (own, y) = heights.into_iter().unzip();
                names = own;
                vec![Series { label: String::new(), y }]
            }
            _ => self.series(labels(self.options.get("labels").as_ref(), "labels")?)?,
        };
        let count = series.first().map_or(0, |series| series.y.len());
        if !names.is_empty() && names.len() != count {
            bail!("plot: x has {} names for {count} bars", names.len());
        }
        self.warn_of_values(&series);
        Ok(Picture::Bars(Bars {
            title: text(&self.options, "title")?,
            xlabel: text(&self.options, "xlabel")?,
            ylabel: text(&self.options, "ylabel")?,
            names,
            edges: vec![],
            series,
        }))
    }

    fn histogram(&self) -> Result<Picture> {
        self.refuse_log(self.log_x || self.log_y, "bars stand on zero")?;
        self.refuse_x("a histogram counts y")?;
        let bins = match self.options.int("bins")? {
            None => None,
            Some(bins) => match usize::try_from(bins) {
                Ok(bins @ 1..=MOST_BINS) => Some(bins),
                _ => bail!("plot: bins must be 1 to {MOST_BINS}, not {bins}"),
            },
        };
        let series = self.series(labels(self.options.get("labels").as_ref(), "labels")?)?;
        self.warn_of_values(&series);
        let mut bars = Bars::histogram(series, bins).map_err(|error| error.at("plot"))?;
        bars.title = text(&self.options, "title")?;
        bars.xlabel = text(&self.options, "xlabel")?;
        if let Some(ylabel) = self.options.string("ylabel")? {
            bars.ylabel = ylabel.to_string();
        }
        Ok(Picture::Bars(bars))
    }

    fn boxes(&self) -> Result<Picture> {
        self.refuse_log(self.log_x, "boxes stand beside each other by name")?;
        let named = self.options.get("labels").or_else(|| self.options.get("x"));
        let series = self.series(labels(named.as_ref(), "labels")?)?;
        self.warn_of_values(&series);
        let boxes = series.into_iter().map(Summary::of).collect::<Result<_>>();
        Ok(Picture::Boxes(Boxes {
            title: text(&self.options, "title")?,
            xlabel: text(&self.options, "xlabel")?,
            ylabel: text(&self.options, "ylabel")?,
            boxes: boxes.map_err(|error| error.at("plot"))?,
            log_y: self.log_y,
        }))
    }

    /// The series in y: one \[n\], several \[s, n\], an array of either, or a map from label to
    /// series.
    fn series(&self, labels: Option<Vec<String>>) -> Result<Vec<Series>> {
        let mut series: Vec<Series> = match record::read(&self.y) {
            Some(map) => {
                let named = map.iter().map(|(label, y)| {
                    Ok(Series { label: label.to_string(), y: numbers(y, "plot: y")? })
                });
                named.collect::<Result<_>>()?
            }
            None => {
                let rows = match is_one_series(&self.y) {
                    true => vec![numbers(&self.y, "plot: y")?],
                    false => matrix(&self.y, "plot: y")?,
                };
                rows.into_iter().map(|y| Series { label: String::new(), y }).collect()
            }
        };
        if let Some(labels) = labels {
            if labels.len() != series.len() {
                bail!("plot: there are {} labels for {} series", labels.len(), series.len());
            }
            series.iter_mut().zip(labels).for_each(|(series, label)| series.label = label);
        } else if series.len() > 1 && series.iter().all(|series| series.label.is_empty()) {
            series.iter_mut().enumerate().for_each(|(i, series)| series.label = i.to_string());
        }
        Ok(series)
    }

    fn refuse_log(&self, asked: bool, why: &str) -> Result<()> {
        match asked {
            true => Err(error!("plot: a {:?} has no log axis there: {why}", self.kind)
                .help("draw it without log, or take the logarithm of y")),
            false => Ok(()),
        }
    }

    fn refuse_x(&self, why: &str) -> Result<()> {
        match self.options.get("x") {
            Some(_) => bail!("plot: a {:?} takes no x: {why}", self.kind),
            None => Ok(()),
        }
    }

    fn warn_of_values(&self, series: &[Series]) {
        let all = || series.iter().flat_map(|series| &series.y);
        warn_of_lost(all().filter(|y| !y.is_finite()).count(), all().count(), "values");
    }
}

fn warn_of_lost(lost: usize, count: usize, what: &str) {
    if lost > 0 {
        message::notice_once(format_args!(
            "warning: plot: {lost} of {count} {what} are nan or infinite, and are left out"
        ));
    }
}

/// Whether y is one series of numbers.
fn is_one_series(y: &Dynamic) -> bool {
    match (y.read_lock::<Handle>(), y.read_lock::<Array>()) {
        (Some(handle), _) => handle.value().rank() == 1,
        (_, Some(list)) => {
            list.iter().all(|value| float(value).is_some() || one_number(value).is_some())
        }
        _ => true,
    }
}

/// The number in a tensor of one element.
fn one_number(value: &Dynamic) -> Option<f64> {
    let handle = value.read_lock::<Handle>()?;
    (handle.value().numel() == 1)
        .then(|| super::super::numbers::floats(&handle.value(), "plot").ok())??
        .first()
        .copied()
}
