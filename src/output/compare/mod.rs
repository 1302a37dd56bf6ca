//! How saved values differ from those of an earlier run: the one comparison behind `rerun` and
//! `run --watch`.

mod difference;
mod values;

use std::fs::File;
use std::path::Path;

pub use difference::{Change, Comparison, Difference};
pub use values::tables;

use super::format::{csv, parquet};
use super::load::{Loaded, load};
use crate::system::file;
use crate::system::file::{FileKind, describe_io_error};
use crate::{Result, error};

/// What is said of two files that hold the same values in different bytes.
pub const SAME_VALUES: &str = "the same values, written otherwise";

/// Compares two files that were saved under the same name, whose extension says how they are read.
///
/// # Errors
/// One of them can't be read.
pub fn files(name: &str, before: &File, after: &File) -> Result<Comparison> {
    Ok(match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("safetensors" | "npy" | "npz") => {
            values::tensors(&tensors(before, name)?, &tensors(after, name)?)?
        }
        Some("csv") => {
            let table = |file: &File| csv::read(file).map_err(|e| e.at(name));
            tables(&table(before)?, &table(after)?)
        }
        Some("parquet") => {
            let table = |file: &File| {
                let file = file.try_clone().map_err(|e| error!("{}", describe_io_error(&e)));
                file.and_then(parquet::read).map_err(|e| e.at(name))
            };
            tables(&table(before)?, &table(after)?)
        }
        Some("json") => values::json(&json(before, name)?, &json(after, name)?),
        _ => Comparison::of_contents(),
    })
}

/// The tensors of a file; the one of a .npy file has no name.
fn tensors(file: &File, name: &str) -> Result<values::Tensors> {
    Ok(match load(file, name, &|other| Err(error!("{other} is not compared")))? {
        Loaded::One(value) => [(String::new(), value)].into(),
        Loaded::Named(values, _) => values,
    })
}

fn json(file: &File, name: &str) -> Result<serde_json::Value> {
    let bytes = file::read_open(file, FileKind::Data)
        .map_err(|e| error!("{name} can't be read: {}", describe_io_error(&e)))?;
    serde_json::from_slice(&bytes).map_err(|e| error!("{name}: this is no JSON: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(name: &str, before: &str, after: &str) -> Result<Comparison> {
        let directory = tempfile::tempdir().unwrap();
        let [before, after] = [("a", before), ("b", after)].map(|(file, text)| {
            let path = directory.path().join(file);
            std::fs::write(&path, text).unwrap();
            File::open(path).unwrap()
        });
        files(name, &before, &after)
    }

    #[test]
    fn numbers_differ_by_how_much_and_the_rest_in_words() {
        let numeric = |name: &str, before: &str, after: &str| {
            compared(name, before, after).unwrap().greatest_change()
        };
        let (change, at) =
            numeric("x.json", r#"{"a": [1, 2.0], "b": "NaN"}"#, r#"{"a": [1, 2.5], "b": "NaN"}"#)
                .unwrap();
        assert_eq!((change.absolute, change.relative, at.as_str()), (0.5, 0.2, "a[1]"));
        assert!(
            compared("x.csv", "n,s\n1,a\n", "n,s\n1.0,a\n").unwrap().greatest_change().is_some()
        );
        assert_eq!(numeric("x.csv", "n,s\n1,a\n", "n,s\n3,a\n").unwrap().0.absolute, 2.0);
        assert_eq!(numeric("x.csv", "n\nNaN\n", "n\n1\n").unwrap().0.relative, f64::INFINITY);
        assert!(numeric("x.csv", "n,s\n1,a\n", "n,s\n1,b\n").is_none());
        assert!(numeric("x.csv", "n\n1\n", "n\n1\n2\n").is_none());
        assert!(numeric("x.json", "[1]", "[1, 2]").is_none());
        assert!(numeric("x.json", "[1]", "[\"1\"]").is_none());
        assert!(numeric("x.svg", "<a>", "<b>").is_none());
        assert!(compared("x.safetensors", "", "").is_err());
    }
}
