//! `load_rows(path)`: the rows of a file, read as a loop goes through them.

use std::rc::Rc;

use rhai::{Array, Dynamic, Map};
use serde_json::Value as Json;

use super::files::DataFiles;
use super::json::dynamic;
use crate::data::rows::{Iter, Numbers, ReadOptions, Row};
use crate::data::{rows, selection};
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::value::options::{Options, describe};
use crate::script::value::record::Record;
use crate::{Result, bail, error};

/// The rows of a file, or a selection of them. A clone reads them anew.
#[derive(Clone)]
pub struct Rows(rows::Rows);

impl Rows {
    /// These rows, or fewer of them.
    pub fn select(
        &self,
        change: impl FnOnce(selection::Selection) -> selection::Selection,
    ) -> Self {
        Self(self.0.select(change))
    }

    /// How many there are, if that is known.
    pub fn len(&self) -> Result<Option<u64>> {
        self.0.len()
    }
}

/// Reads the rows as maps of a script.
pub struct RecordIter(Iter);

impl Iterator for RecordIter {
    type Item = ScriptResult<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.0.next()?;
        Some(row.and_then(|row| record(row).map_err(|e| e.at(self.0.place()))).map_err(Into::into))
    }
}

impl IntoIterator for Rows {
    type Item = ScriptResult<Record>;
    type IntoIter = RecordIter;

    fn into_iter(self) -> RecordIter {
        RecordIter(self.0.iter())
    }
}

fn record(row: Row) -> Result<Record> {
    let cell = |(name, json): (String, Json)| {
        let value =
            dynamic(json).map_err(|e| e.at(&name).help("#{columns: […]} leaves a column out"))?;
        Ok((name.into(), value))
    };
    Ok(Record::deep(row.into_iter().map(cell).collect::<Result<Map>>()?))
}

fn load_rows(files: &Rc<DataFiles>, path: &str, options: Map) -> Result<Rows> {
    let options = Options::new("load_rows", options, &["columns", "numbers", "config", "split"])?;
    let columns = options.get("columns").map(|given| names(&given, "columns")).transpose()?;
    let numbers = match options.get("numbers") {
        None => Numbers::Everywhere,
        Some(given) => match given.as_bool() {
            Ok(true) => Numbers::Everywhere,
            Ok(false) => Numbers::Nowhere,
            Err(_) => Numbers::In(names(&given, "numbers")?),
        },
    };
    let (config, split) = (options.string("config")?, options.string("split")?);
    let sources = files.sources(path, config.as_deref(), split.as_deref())?;
    Ok(Rows(rows::Rows::new(sources, ReadOptions { columns, numbers })?))
}

/// The names of columns that an option gives.
fn names(given: &Dynamic, option: &str) -> Result<Vec<String>> {
    let texts = given.read_lock::<Array>().and_then(|array| {
        array.iter().map(|name| name.clone().into_string().ok()).collect::<Option<Vec<_>>>()
    });
    match texts {
        Some(texts) if !texts.is_empty() => Ok(texts),
        _ => bail!(
            "load_rows: {option} must be an array of names of columns, not {}",
            describe(given)
        ),
    }
}

/// A number of items that a script gives.
pub fn count(call: &str, n: i64) -> Result<u64> {
    u64::try_from(n).map_err(|_| error!("{call} takes a number of at least 0, not {n}"))
}

/// The share `i` of `n` that a script asks for.
pub fn share(i: i64, n: i64) -> Result<(u64, u64)> {
    match (u64::try_from(i), u64::try_from(n)) {
        (Ok(i), Ok(n)) if i < n => Ok((i, n)),
        _ => bail!("shard(i, n) is the share i of n, with i from 0 to n - 1, not shard({i}, {n})"),
    }
}

/// A length as scripts have it: `()` if it is not known.
pub fn length(known: Option<u64>) -> Dynamic {
    known.and_then(|n| i64::try_from(n).ok()).map_or(Dynamic::UNIT, Into::into)
}

/// Registers `load_rows`, and what rows have.
pub fn install(registry: &mut Registry, files: &Rc<DataFiles>) {
    let [own, with_options] = [files.clone(), files.clone()];
    registry
        .declare(
            "load_rows(path, #{columns, numbers, config, split})",
            Purity::Impure("reads a file"),
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "the rows of a .jsonl, .csv, .tsv, .parquet or .txt (also with .gz or .zst after it) as \
            maps, read as a loop goes through them; beside the script, below a --read directory, \
            or from the Hub: hf:owner/repo/path@revision, hf:datasets/owner/repo/path",
            "let said = \"\"; try { load_rows(\"none.csv\"); } catch (e) { said = e; } said",
            "there is no file \"none.csv\" beside the script",
        )
        .row_for(
            "of a data set",
            "all files of a split: load_rows(\"hf:datasets/owner/repo\", #{config, split})",
            "let said = \"\"; try { load_rows(\"a.csv\", #{split: \"test\"}); } catch (e) { said = e; } said",
            "load_rows: config and split are those of a data set on the Hub, hf:datasets/owner/repo, not of \"a.csv\"",
        )
        .function(move |path: &str| -> ScriptResult<Rows> { Ok(load_rows(&own, path, Map::new())?) })
        .function(move |path: &str, options: Map| -> ScriptResult<Rows> {
            Ok(load_rows(&with_options, path, options)?)
        });
    registry.type_name::<Rows>("rows");
    registry
        .declare("rows", Purity::Impure("reads a file"), OnGpu::NO_TENSORS, Gradient::NoTensors)
        .iterator::<Rows, Record>();
    registry
        .declare("to_string(x)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .shown(|rows: &mut Rows| format!("rows of {}", rows.0.name()));
}
