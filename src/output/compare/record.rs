//! How a run's saved values differ from those of another run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::{DType, Tensor};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::Value as Json;

use crate::output::format::load;
use crate::output::format::load::Loaded;
use crate::system::file;
use crate::system::file::FileKind;
use crate::tensor::Value;
use crate::{Result, bail, error};

/// The largest differences between two files' numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Difference {
    pub absolute: f64,
    /// To the larger of the two numbers.
    pub relative: f64,
    /// Which value of the file differs most.
    pub at: String,
}

/// Compares two files of the same name and kind.
///
/// # Errors
/// They differ in more than numbers: in shape, names or text, in the sentence's words. Or one can't
/// be read.
pub fn compare(before: &Path, after: &Path, name: &str) -> Result<Difference> {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let mut difference = Difference::default();
    match ending {
        "safetensors" | "npy" => {
            difference.tensors(tensors(before, name)?, tensors(after, name)?)?
        }
        "json" => difference.json("", &json(before)?, &json(after)?)?,
        "csv" => difference.rows(&csv_rows(before)?, &csv_rows(after)?)?,
        "parquet" => difference.rows(&parquet_rows(before)?, &parquet_rows(after)?)?,
        _ => bail!("its contents differ"),
    }
    Ok(difference)
}

impl Difference {
    fn number(&mut self, at: &str, a: f64, b: f64) {
        // The same infinity, or NaN in both, is no difference.
        let absolute = if a == b || (a.is_nan() && b.is_nan()) { 0.0 } else { (a - b).abs() };
        let absolute = if absolute.is_nan() { f64::INFINITY } else { absolute };
        let larger = a.abs().max(b.abs());
        let relative = match absolute {
            0.0 => 0.0,
            _ if larger.is_finite() && absolute.is_finite() => absolute / larger,
            _ => f64::INFINITY,
        };
        if relative > self.relative {
            at.clone_into(&mut self.at);
        }
        (self.absolute, self.relative) = (self.absolute.max(absolute), self.relative.max(relative));
    }

    fn tensors(
        &mut self,
        before: BTreeMap<String, Value>,
        mut after: BTreeMap<String, Value>,
    ) -> Result<()> {
        for (name, a) in before {
            let Some(b) = after.remove(&name) else { bail!("{name} is gone") };
            let (a, b) = (parts(&a), parts(&b));
            if a.len() != b.len() {
                bail!("{name} is complex in one only");
            }
            for (a, b) in a.iter().zip(&b) {
                if a.dims() != b.dims() {
                    bail!("{name} had the shape {:?}, and has {:?}", a.dims(), b.dims());
                }
                for (a, b) in flat(a)?.into_iter().zip(flat(b)?) {
                    self.number(&name, a, b);
                }
            }
        }
        match after.keys().next() {
            Some(name) => bail!("{name} is new"),
            None => Ok(()),
        }
    }

    fn json(&mut self, at: &str, a: &Json, b: &Json) -> Result<()> {
        match (a, b) {
            (Json::Number(x), Json::Number(y)) => {
                if x != y {
                    self.number(at, x.as_f64().unwrap_or(f64::NAN), y.as_f64().unwrap_or(f64::NAN));
                }
                Ok(())
            }
            (Json::Array(x), Json::Array(y)) if x.len() == y.len() => x
                .iter()
                .zip(y)
                .enumerate()
                .try_for_each(|(i, (x, y))| self.json(&format!("{at}[{i}]"), x, y)),
            (Json::Object(x), Json::Object(y)) => {
                let names: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
                names.into_iter().try_for_each(|name| match (x.get(name), y.get(name)) {
                    (Some(x), Some(y)) => self.json(
                        &if at.is_empty() { name.clone() } else { format!("{at}.{name}") },
                        x,
                        y,
                    ),
                    (None, _) => bail!("{name} is new"),
                    (_, None) => bail!("{name} is gone"),
                })
            }
            (a, b) if a == b => Ok(()),
            _ => bail!(
                "{} differs in more than numbers",
                if at.is_empty() { "the value" } else { at }
            ),
        }
    }

    /// Rows of cells, below a row of names.
    fn rows(&mut self, before: &[Vec<String>], after: &[Vec<String>]) -> Result<()> {
        if before.len() != after.len() {
            bail!(
                "it had {} rows, and has {}",
                before.len().saturating_sub(1),
                after.len().saturating_sub(1)
            );
        }
        if before.first() != after.first() {
            bail!("its columns differ");
        }
        let names = before.first().cloned().unwrap_or_default();
        for (i, (a, b)) in before.iter().zip(after).enumerate() {
            for (name, (a, b)) in names.iter().zip(a.iter().zip(b)).filter(|(_, (a, b))| a != b) {
                match (a.parse::<f64>(), b.parse::<f64>()) {
                    (Ok(x), Ok(y)) => self.number(name, x, y),
                    _ => bail!("row {i} of {name} was {a:?}, and is {b:?}"),
                }
            }
        }
        Ok(())
    }
}

fn tensors(path: &Path, name: &str) -> Result<BTreeMap<String, Value>> {
    let file = file::open(path, FileKind::Data).map_err(|e| unread(path, &e))?;
    Ok(match load::load(&file, name)? {
        Loaded::One(value) => [(name.to_owned(), value)].into(),
        Loaded::Named(values, _) => values,
    })
}

fn parts(value: &Value) -> Vec<Tensor> {
    match value {
        Value::Real(tensor) | Value::Bool(tensor) => vec![tensor.clone()],
        Value::Complex(complex) => vec![complex.re.clone(), complex.im.clone()],
    }
}

fn flat(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

fn json(path: &Path) -> Result<Json> {
    let bytes = file::read(path, FileKind::Data).map_err(|e| unread(path, &e))?;
    serde_json::from_slice(&bytes).map_err(|e| unread(path, &e))
}

fn csv_rows(path: &Path) -> Result<Vec<Vec<String>>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(file::open(path, FileKind::Data).map_err(|e| unread(path, &e))?);
    let row = |row: csv::Result<csv::StringRecord>| Ok(row?.iter().map(str::to_owned).collect());
    reader.records().map(row).collect::<csv::Result<_>>().map_err(|e| unread(path, &e))
}

fn parquet_rows(path: &Path) -> Result<Vec<Vec<String>>> {
    let file = file::open(path, FileKind::Data).map_err(|e| unread(path, &e))?;
    let reader = SerializedFileReader::new(file).map_err(|e| unread(path, &e))?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let mut rows = vec![schema.columns().iter().map(|column| column.name().to_owned()).collect()];
    for row in reader.get_row_iter(None).map_err(|e| unread(path, &e))? {
        let row = row.map_err(|e| unread(path, &e))?;
        let cell = |(_, field): (&String, &Field)| match field {
            Field::Str(text) => text.clone(),
            Field::Double(number) => number.to_string(),
            Field::Float(number) => number.to_string(),
            other => other.to_string(),
        };
        rows.push(row.get_column_iter().map(cell).collect());
    }
    Ok(rows)
}

fn unread(path: &Path, cause: &dyn std::fmt::Display) -> crate::Error {
    error!("{} can't be read: {cause}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(name: &str, before: &str, after: &str) -> Result<Difference> {
        let directory = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|file| directory.path().join(file));
        std::fs::write(&a, before).unwrap();
        std::fs::write(&b, after).unwrap();
        compare(&a, &b, name)
    }

    #[test]
    fn numbers_differ_by_how_much_and_the_rest_in_words() {
        let difference =
            compared("x.json", r#"{"a": [1, 2.0], "b": "NaN"}"#, r#"{"a": [1, 2.5], "b": "NaN"}"#)
                .unwrap();
        assert_eq!(difference, Difference { absolute: 0.5, relative: 0.2, at: "a[1]".into() });
        assert_eq!(compared("x.csv", "n,s\n1,a\n", "n,s\n1,a\n").unwrap(), Difference::default());
        assert_eq!(compared("x.csv", "n,s\n1,a\n", "n,s\n3,a\n").unwrap().absolute, 2.0);
        assert_eq!(compared("x.csv", "n\nNaN\n", "n\n1\n").unwrap().relative, f64::INFINITY);
        assert!(compared("x.csv", "n,s\n1,a\n", "n,s\n1,b\n").is_err());
        assert!(compared("x.csv", "n\n1\n", "n\n1\n2\n").is_err());
        assert!(compared("x.json", "[1]", "[1, 2]").is_err());
        assert!(compared("x.svg", "<a>", "<b>").is_err());
        assert!(compared("x.safetensors", "", "").is_err());
    }
}
