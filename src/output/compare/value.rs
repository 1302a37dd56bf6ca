//! How a result differs from the one that stood in its place, in a line.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device};
use serde_json::Value as Json;

use crate::output::directory::Directory;
use crate::output::format::load::{Loaded, load};
use crate::output::format::parquet;
use crate::output::format::save::{Table, cell};
use crate::output::picture::number;
use crate::system::file;
use crate::system::file::{FileKind, describe_io_error};
use crate::tensor::Value;
use crate::{Result, error};

/// Changed cells that are shown one by one.
const SHOWN: usize = 3;

/// How the file saved as `name` in `new` differs from the one in `old`: nothing where it does not.
///
/// # Errors
/// One of them can't be read.
pub fn of_files(name: &str, old: &Directory, new: &Directory) -> Result<Vec<String>> {
    let read = |from: &Directory| {
        file::read_open(&from.file(name)?, FileKind::Data)
            .map_err(|e| error!("{name} can't be read: {}", describe_io_error(&e)))
    };
    let loaded = |from: &Directory| load(&from.file(name)?, name);
    let table = |from: &Directory| parquet::read(from.file(name)?);
    let (before, after) = (read(old)?, read(new)?);
    if before == after {
        return Ok(Vec::new());
    }
    let at = |what: String| format!("{name}: {what}");
    Ok(match Path::new(name).extension().and_then(|ending| ending.to_str()) {
        Some("safetensors" | "npy") => match (loaded(old)?, loaded(new)?) {
            (Loaded::One(old), Loaded::One(new)) => {
                of_tensors(&old, &new)?.into_iter().map(at).collect()
            }
            (Loaded::Named(old, _), Loaded::Named(new, _)) => {
                of_named(&old, &new)?.into_iter().map(at).collect()
            }
            _ => vec![at("changed".into())],
        },
        Some("csv") => of_tables(&csv(&before)?, &csv(&after)?).into_iter().map(at).collect(),
        Some("parquet") => of_tables(&table(old)?, &table(new)?).into_iter().map(at).collect(),
        Some("json") => vec![at(of_json(&json(&before)?, &json(&after)?))],
        _ => vec![at("changed".into())],
    })
}

fn of_named(old: &BTreeMap<String, Value>, new: &BTreeMap<String, Value>) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for (name, value) in new {
        match old.get(name) {
            // The name of a file with one tensor says it already.
            Some(before) if new.len() == 1 && old.len() == 1 => {
                lines.extend(of_tensors(before, value)?)
            }
            Some(before) => {
                lines.extend(of_tensors(before, value)?.map(|line| format!("{name}: {line}")))
            }
            None => lines.push(format!("{name} is new")),
        }
    }
    lines.extend(
        old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("{name} is gone")),
    );
    Ok(lines)
}

fn of_tensors(old: &Value, new: &Value) -> Result<Option<String>> {
    if old.dims() != new.dims() || old.dtype_name() != new.dtype_name() {
        let show = |value: &Value| format!("{:?} {}", value.dims(), value.dtype_name());
        return Ok(Some(format!("{} became {}", show(old), show(new))));
    }
    let (mut changed, mut most) = (0usize, 0.0f64);
    for (old, new) in old.parts().into_iter().zip(new.parts()) {
        let numbers = |t: &candle_core::Tensor| -> Result<Vec<f64>> {
            Ok(t.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
        };
        for (old, new) in numbers(old)?.into_iter().zip(numbers(new)?) {
            if old.to_bits() != new.to_bits() {
                changed += 1;
                let change = (new - old).abs();
                most = if most.is_nan() || change.is_nan() { f64::NAN } else { most.max(change) };
            }
        }
    }
    Ok((changed > 0).then(|| {
        format!("maximum change {}, in {changed} of {} elements", number(most), new.numel())
    }))
}

/// How a table differs from the one before, cell by cell.
pub fn of_tables(old: &Table, new: &Table) -> Option<String> {
    if old.columns != new.columns {
        return Some(format!(
            "its columns were {}, and are {}",
            old.columns.join(", "),
            new.columns.join(", ")
        ));
    }
    let mut changed = Vec::new();
    for (row, (before, after)) in old.rows.iter().zip(&new.rows).enumerate() {
        for (column, (a, b)) in before.iter().zip(after).enumerate() {
            if a != b {
                changed.push(format!(
                    "{} in row {row} from {} to {}",
                    new.columns[column],
                    short(a),
                    short(b)
                ));
            }
        }
    }
    let mut parts = Vec::new();
    if !changed.is_empty() {
        let cells: usize = old.rows.iter().zip(&new.rows).map(|(row, _)| row.len()).sum();
        let more = if changed.len() > SHOWN { ", …" } else { "" };
        let shown = changed.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
        parts.push(format!("{} of {cells} cells changed: {shown}{more}", changed.len()));
    }
    if old.rows.len() != new.rows.len() {
        parts.push(format!("{} rows became {}", old.rows.len(), new.rows.len()));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn short(json: &Json) -> String {
    match json.as_f64().filter(|_| json.is_f64()) {
        Some(x) => number(x),
        None if json.is_null() => "nothing".into(),
        None => cell(json),
    }
}

fn of_json(old: &Json, new: &Json) -> String {
    let (before, after) = (leaves(old), leaves(new));
    let changed: Vec<String> = after
        .iter()
        .filter_map(|(place, b)| match before.get(place) {
            Some(a) if a == b => None,
            Some(a) => Some(format!("{}from {} to {}", at(place), short(a), short(b))),
            None => Some(format!("{}new", at(place))),
        })
        .chain(
            before
                .keys()
                .filter(|place| !after.contains_key(*place))
                .map(|place| format!("{}gone", at(place))),
        )
        .collect();
    let more = if changed.len() > SHOWN { ", …" } else { "" };
    let shown = changed.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    format!("{} of {} values changed: {shown}{more}", changed.len(), after.len().max(before.len()))
}

fn at(place: &str) -> String {
    if place.is_empty() { String::new() } else { format!("{place} ") }
}

/// Every value that is neither an array nor a map, by the way to it: `losses[2]`.
fn leaves(json: &Json) -> BTreeMap<String, &Json> {
    fn walk<'a>(json: &'a Json, place: String, found: &mut BTreeMap<String, &'a Json>) {
        match json {
            Json::Array(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(i, item)| walk(item, format!("{place}[{i}]"), found));
            }
            Json::Object(entries) => entries.iter().for_each(|(key, item)| {
                let dot = if place.is_empty() { "" } else { "." };
                walk(item, format!("{place}{dot}{key}"), found);
            }),
            leaf => {
                found.insert(place, leaf);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(json, String::new(), &mut found);
    found
}

fn json(bytes: &[u8]) -> Result<Json> {
    serde_json::from_slice(bytes).map_err(|e| error!("this is no JSON: {e}"))
}

fn csv(bytes: &[u8]) -> Result<Table> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let failed = |e: csv::Error| error!("this is no CSV: {e}");
    let columns = reader.headers().map_err(failed)?.iter().map(str::to_owned).collect();
    let cells = |row: csv::StringRecord| row.iter().map(Json::from).collect();
    let rows =
        reader.records().map(|row| row.map(cells)).collect::<Result<_, _>>().map_err(failed)?;
    Ok(Table { columns, rows })
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;
    use serde_json::json;

    use super::*;

    fn real(x: &[f32]) -> Value {
        Value::Real(Tensor::new(x, &Device::Cpu).unwrap())
    }

    #[test]
    fn tensors_differ_by_their_maximum_change() {
        assert_eq!(of_tensors(&real(&[1.0, 2.0]), &real(&[1.0, 2.0])).unwrap(), None);
        let said = of_tensors(&real(&[1.0, 2.0, 3.0]), &real(&[1.5, 2.0, 1.0])).unwrap().unwrap();
        assert_eq!(said, "maximum change 2, in 2 of 3 elements");
        let said = of_tensors(&real(&[1.0]), &real(&[f32::NAN])).unwrap().unwrap();
        assert_eq!(said, "maximum change nan, in 1 of 1 elements");
        let said = of_tensors(&real(&[1.0]), &real(&[1.0, 2.0])).unwrap().unwrap();
        assert_eq!(said, "[1] f32 became [2] f32");
    }

    #[test]
    fn tables_differ_by_cells() {
        let table = |rows: &[[Json; 2]]| Table {
            columns: vec!["layer".into(), "loss".into()],
            rows: rows.iter().map(|row| row.to_vec()).collect(),
        };
        let old = table(&[[json!(0), json!(3.25)], [json!(1), json!(2.5)]]);
        assert_eq!(of_tables(&old, &old), None);
        let new = table(&[[json!(0), json!(3.25)], [json!(1), json!(2.75)]]);
        assert_eq!(
            of_tables(&old, &new).unwrap(),
            "1 of 4 cells changed: loss in row 1 from 2.5 to 2.75"
        );
        let longer =
            table(&[[json!(0), json!(3.25)], [json!(1), json!(2.5)], [json!(2), json!(2)]]);
        assert_eq!(of_tables(&old, &longer).unwrap(), "2 rows became 3");
    }

    #[test]
    fn json_differs_by_values() {
        let said = of_json(&json!({"a": [1, 2], "b": "x"}), &json!({"a": [1, 3], "c": true}));
        assert_eq!(said, "3 of 3 values changed: a[1] from 2 to 3, c new, b gone");
        assert_eq!(of_json(&json!(1), &json!(2)), "1 of 1 values changed: from 1 to 2");
    }
}
