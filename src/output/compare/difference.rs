//! The kinds of differences between two saved values, and the sentences that say them.

use std::fmt;

use serde_json::Value as Json;

use crate::output::format::table::cell;
use crate::output::picture::number;

/// How many changed cells, or values of JSON, a line names one by one.
const SHOWN: usize = 3;

/// Everything in which two saved values differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// In the order in which the values are saved. Empty if the values are the same.
    pub differences: Vec<Difference>,
    /// How many cells or JSON values were compared.
    pub compared: usize,
    /// What these are called: "cells" or "values".
    pub unit: &'static str,
}

/// One difference between two saved values.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// Only the later file has a tensor of this name.
    New(String),
    /// Only the earlier file has a tensor of this name.
    Gone(String),
    /// A tensor's shape differs, or one of the two is complex: elements can't be compared. `before`
    /// and `after` are shape and dtype. `tensor` is empty if the file has no other.
    Shape {
        /// The tensor's name.
        tensor: String,
        /// Shape and dtype in the earlier file.
        before: String,
        /// Shape and dtype in the later file.
        after: String,
    },
    /// A tensor's dtype differs, and its elements are compared all the same.
    Dtype {
        /// The tensor's name, empty if the file has no other.
        tensor: String,
        /// Shape and dtype in the earlier file.
        before: String,
        /// Shape and dtype in the later file.
        after: String,
    },
    /// Elements of a tensor differ.
    Elements {
        /// The tensor's name, empty if the file has no other.
        tensor: String,
        /// How many elements differ.
        changed: usize,
        /// How many elements the tensor has.
        of: usize,
        /// The greatest change of an element.
        change: Change,
    },
    /// A cell of a table differs, or a value of JSON that is neither an array nor a map.
    Value {
        /// The cell's column and row, or the value's path: `losses[2]`.
        at: String,
        /// `None` if only the later file has it.
        before: Option<Json>,
        /// `None` if only the earlier file has it.
        after: Option<Json>,
        /// By how much it differs, if both are numbers.
        change: Option<Change>,
    },
    /// The names of a table's columns differ: its cells can't be compared.
    Columns {
        /// The columns in the earlier file.
        before: Vec<String>,
        /// The columns in the later file.
        after: Vec<String>,
    },
    /// The numbers of a table's rows differ.
    Rows {
        /// How many rows the earlier file has.
        before: usize,
        /// How many rows the later file has.
        after: usize,
    },
    /// The files are of a format whose contents are not compared: a picture, a text.
    Contents,
}

/// By how much a number differs from another.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Change {
    /// The distance between the two; NaN if exactly one of them is NaN.
    pub absolute: f64,
    /// The distance divided by the larger magnitude; infinite if the distance is not finite.
    pub relative: f64,
}

impl Change {
    /// The change of a number; a complex number is given by its two parts. The same infinity in
    /// both, or NaN in both, is no change.
    pub fn between(before: &[f64], after: &[f64]) -> Self {
        let norm = |parts: &mut dyn Iterator<Item = f64>| parts.fold(0.0, f64::hypot);
        let mut distances = before
            .iter()
            .zip(after)
            .map(|(&a, &b)| if a == b || (a.is_nan() && b.is_nan()) { 0.0 } else { a - b });
        let absolute = norm(&mut distances);
        let larger = norm(&mut before.iter().copied()).max(norm(&mut after.iter().copied()));
        let relative = match absolute {
            0.0 => 0.0,
            _ if absolute.is_finite() && larger.is_finite() => absolute / larger,
            _ => f64::INFINITY,
        };
        Self { absolute, relative }
    }

    /// Whether nothing changed.
    pub fn is_none(&self) -> bool {
        self.absolute == 0.0
    }

    /// The greater of both in each respect; a distance that is NaN counts as the greatest.
    pub fn max(self, other: Self) -> Self {
        let absolute = match self.absolute.is_nan() || other.absolute.is_nan() {
            true => f64::NAN,
            false => self.absolute.max(other.absolute),
        };
        Self { absolute, relative: self.relative.max(other.relative) }
    }
}

impl Comparison {
    /// Of files whose contents are not compared.
    pub(super) fn of_contents() -> Self {
        Self { differences: vec![Difference::Contents], compared: 0, unit: "" }
    }

    /// The greatest change of a number, and where the greatest relative change is. `None` if the
    /// two differ in more than numbers.
    pub fn greatest_change(&self) -> Option<(Change, String)> {
        let (mut greatest, mut place) = (Change::default(), String::new());
        for difference in &self.differences {
            let (change, at) = match difference {
                Difference::Dtype { .. } => continue,
                Difference::Elements { tensor, change, .. } => (change, tensor),
                Difference::Value { at, change: Some(change), .. } => (change, at),
                _ => return None,
            };
            if change.relative > greatest.relative {
                at.clone_into(&mut place);
            }
            greatest = greatest.max(*change);
        }
        Some((greatest, place))
    }

    /// The differences in words, a line each; changed cells and JSON values share one line.
    pub fn lines(&self) -> Vec<String> {
        let is_value = |difference: &&Difference| matches!(difference, Difference::Value { .. });
        let values: Vec<String> =
            self.differences.iter().filter(is_value).map(ToString::to_string).collect();
        let others = self.differences.iter().filter(|difference| !is_value(difference));
        let mut lines = Vec::new();
        if !values.is_empty() {
            let shown = values[..values.len().min(SHOWN)].join(", ");
            let more = if values.len() > SHOWN { ", …" } else { "" };
            lines.push(format!(
                "{} of {} {} changed: {shown}{more}",
                values.len(),
                self.compared,
                self.unit
            ));
        }
        lines.extend(others.map(ToString::to_string));
        lines
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of =
            |tensor: &str| if tensor.is_empty() { String::new() } else { format!("{tensor}: ") };
        match self {
            Difference::New(tensor) => write!(f, "{tensor} is new"),
            Difference::Gone(tensor) => write!(f, "{tensor} is gone"),
            Difference::Shape { tensor, before, after }
            | Difference::Dtype { tensor, before, after } => {
                write!(f, "{}{before} became {after}", of(tensor))
            }
            Difference::Elements { tensor, changed, of: all, change } => {
                let change = number(change.absolute);
                write!(f, "{}maximum change {change}, in {changed} of {all} elements", of(tensor))
            }
            Difference::Value { at, before, after, .. } => {
                let space = if at.is_empty() { "" } else { " " };
                match (before, after) {
                    (Some(a), Some(b)) => {
                        write!(f, "{at}{space}from {} to {}", short(a), short(b))
                    }
                    (None, _) => write!(f, "{at}{space}new"),
                    (_, None) => write!(f, "{at}{space}gone"),
                }
            }
            Difference::Columns { before, after } => {
                write!(f, "its columns were {}, and are {}", before.join(", "), after.join(", "))
            }
            Difference::Rows { before, after } => write!(f, "{before} rows became {after}"),
            Difference::Contents => f.write_str("its contents differ"),
        }
    }
}

fn short(json: &Json) -> String {
    match json.as_f64().filter(|_| json.is_f64()) {
        Some(x) => number(x),
        None if json.is_null() => "nothing".into(),
        None => cell(json),
    }
}
