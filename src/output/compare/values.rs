//! Comparing tensors, tables and JSON.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use serde_json::Value as Json;

use super::difference::{Change, Comparison, Difference};
use crate::Result;
use crate::output::format::table::{Table, cell};
use crate::tensor::Value;

/// Tensors by name.
pub type Tensors = BTreeMap<String, Value>;

/// Compares tensors of the same name.
///
/// # Errors
/// Candle's, if elements can't be copied to the CPU.
pub fn tensors(before: &Tensors, after: &Tensors) -> Result<Comparison> {
    let mut differences = Vec::new();
    // The name of the only tensor says no more than the file's.
    let is_only = before.len() == 1 && before.keys().eq(after.keys());
    for (name, now) in after {
        match before.get(name) {
            Some(then) => {
                tensor(if is_only { "" } else { name }, then, now, &mut differences)?;
            }
            None => differences.push(Difference::New(name.clone())),
        }
    }
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    differences.extend(gone.cloned().map(Difference::Gone));
    Ok(Comparison { differences, compared: 0, unit: "" })
}

fn tensor(name: &str, before: &Value, after: &Value, found: &mut Vec<Difference>) -> Result<()> {
    let (then, now) = (before.parts(), after.parts());
    let show = |value: &Value| format!("{:?} {}", value.dims(), value.dtype_name());
    let (tensor, shown_before, shown_after) = (name.to_owned(), show(before), show(after));
    if before.dims() != after.dims() || then.len() != now.len() {
        found.push(Difference::Shape { tensor, before: shown_before, after: shown_after });
        return Ok(());
    }
    if before.dtype_name() != after.dtype_name() {
        let tensor = tensor.clone();
        found.push(Difference::Dtype { tensor, before: shown_before, after: shown_after });
    }
    let numbers = |parts: Vec<&Tensor>| parts.into_iter().map(numbers).collect::<Result<Vec<_>>>();
    let (then, now) = (numbers(then)?, numbers(now)?);
    let element = |parts: &[Vec<f64>], i: usize| {
        [parts[0][i], parts.get(1).map_or(0.0, |imaginary| imaginary[i])]
    };
    let (mut changed, mut greatest, of) = (0, Change::default(), after.numel());
    for i in 0..of {
        let change = Change::between(&element(&then, i), &element(&now, i));
        changed += usize::from(!change.is_none());
        greatest = greatest.max(change);
    }
    if changed > 0 {
        found.push(Difference::Elements { tensor, changed, of, change: greatest });
    }
    Ok(())
}

fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

/// Compares two tables cell by cell; rows count from 0, and those that only one has are not
/// compared.
pub fn tables(before: &Table, after: &Table) -> Comparison {
    let mut comparison = Comparison { differences: Vec::new(), compared: 0, unit: "cells" };
    let differences = &mut comparison.differences;
    if before.columns != after.columns {
        let (before, after) = (before.columns.clone(), after.columns.clone());
        differences.push(Difference::Columns { before, after });
        return comparison;
    }
    for (row, (then, now)) in before.rows.iter().zip(&after.rows).enumerate() {
        for (column, (a, b)) in after.columns.iter().zip(then.iter().zip(now)) {
            comparison.compared += 1;
            let number = |json: &Json| cell(json).parse::<f64>().ok();
            let change = number(a).zip(number(b)).map(|(a, b)| Change::between(&[a], &[b]));
            if a != b && !change.is_some_and(|change| change.is_none()) {
                let (before, after) = (Some(a.clone()), Some(b.clone()));
                let at = format!("{column} in row {row}");
                differences.push(Difference::Value { at, before, after, change });
            }
        }
    }
    if before.rows.len() != after.rows.len() {
        differences.push(Difference::Rows { before: before.rows.len(), after: after.rows.len() });
    }
    comparison
}

/// Compares JSON value by value, by their paths: `losses[2]`.
pub fn json(before: &Json, after: &Json) -> Comparison {
    let mut comparison = Comparison { differences: Vec::new(), compared: 0, unit: "values" };
    walk(String::new(), Some(before), Some(after), &mut comparison);
    comparison
}

/// Compares the values at the path `at`, of which at least one is there.
fn walk(at: String, before: Option<&Json>, after: Option<&Json>, found: &mut Comparison) {
    let is = |kind: fn(&Json) -> bool| [before, after].into_iter().flatten().all(kind);
    if is(|json| json.as_array().is_some_and(|items| !items.is_empty())) {
        let items = |json: Option<&'_ Json>| json.and_then(Json::as_array).map_or(0, Vec::len);
        for i in 0..items(before).max(items(after)) {
            walk(format!("{at}[{i}]"), entry(before, i), entry(after, i), found);
        }
        return;
    }
    if is(|json| json.as_object().is_some_and(|entries| !entries.is_empty())) {
        let names = |json: Option<&Json>| -> Vec<String> {
            json.and_then(Json::as_object).map(|o| o.keys().cloned().collect()).unwrap_or_default()
        };
        let (now, mut all) = (names(after), names(after));
        all.extend(names(before).into_iter().filter(|name| !now.contains(name)));
        for name in all {
            let dot = if at.is_empty() { "" } else { "." };
            let path = format!("{at}{dot}{name}");
            walk(path, entry(before, &name), entry(after, &name), found);
        }
        return;
    }
    found.compared += 1;
    let number = |json: Option<&Json>| json.and_then(Json::as_f64);
    let change = number(before).zip(number(after)).map(|(a, b)| Change::between(&[a], &[b]));
    if before != after && !change.is_some_and(|change| change.is_none()) {
        let (before, after) = (before.cloned(), after.cloned());
        found.differences.push(Difference::Value { at, before, after, change });
    }
}

fn entry(json: Option<&Json>, key: impl serde_json::value::Index) -> Option<&Json> {
    json.and_then(|json| json.get(key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(before: &[f32], after: &[f32]) -> Vec<String> {
        let named = |x: &[f32]| {
            [("x".to_owned(), Value::Real(Tensor::new(x, &Device::Cpu).unwrap()))].into()
        };
        tensors(&named(before), &named(after)).unwrap().lines()
    }

    #[test]
    fn tensors_differ_by_their_maximum_change() {
        assert_eq!(lines(&[1.0, 2.0], &[1.0, 2.0]), [""; 0]);
        assert_eq!(
            lines(&[1.0, 2.0, 3.0], &[1.5, 2.0, 1.0]),
            ["maximum change 2, in 2 of 3 elements"]
        );
        assert_eq!(lines(&[1.0], &[f32::NAN]), ["maximum change nan, in 1 of 1 elements"]);
        assert_eq!(lines(&[1.0], &[1.0, 2.0]), ["[1] f32 became [2] f32"]);
    }

    #[test]
    fn tables_differ_by_cells() {
        let table = |rows: &[[Json; 2]]| Table {
            columns: vec!["layer".into(), "loss".into()],
            rows: rows.iter().map(|row| row.to_vec()).collect(),
        };
        let old = table(&[[json!(0), json!(3.25)], [json!(1), json!(2.5)]]);
        assert_eq!(tables(&old, &old).lines(), [""; 0]);
        let new = table(&[[json!(0), json!(3.25)], [json!(1), json!(2.75)]]);
        assert_eq!(
            tables(&old, &new).lines(),
            ["1 of 4 cells changed: loss in row 1 from 2.5 to 2.75"]
        );
        let longer =
            table(&[[json!(0), json!(3.25)], [json!(1), json!(2.5)], [json!(2), json!(2)]]);
        assert_eq!(tables(&old, &longer).lines(), ["2 rows became 3"]);
    }

    #[test]
    fn json_differs_by_values() {
        let before = json!({"a": [1, 2], "b": "x"});
        assert_eq!(
            json(&before, &json!({"a": [1, 3], "c": true})).lines(),
            ["3 of 4 values changed: a[1] from 2 to 3, c new, b gone"]
        );
        assert_eq!(json(&json!(1), &json!(2)).lines(), ["1 of 1 values changed: from 1 to 2"]);
    }
}
