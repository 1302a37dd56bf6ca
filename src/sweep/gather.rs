//! Joins what the runs of a sweep recorded into one table, `sweep.parquet`.

use serde_json::{Map, Value as Json};

use super::folder::{Folder, State};
use super::plan::{Item, Plan};
use crate::data::rows::number as typed;
use crate::output::format::parquet;
use crate::output::format::table::Table;
use crate::output::run::RECORDS;
use crate::system::file;
use crate::system::file::{FileKind, describe_io_error};
use crate::system::interrupt;
use crate::{Result, error};

/// The name of the table.
pub const TABLE: &str = "sweep.parquet";

/// How far a sweep has come.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many combinations are done.
    pub done: usize,
    /// How many have failed.
    pub failed: usize,
    /// How many are left.
    pub pending: usize,
    /// How many rows were recorded.
    pub rows: usize,
}

/// Writes the table of all rows that done combinations recorded: for each the combination's
/// parameters, and what `record` was called with. A combination that recorded nothing has no row.
///
/// # Errors
/// A record is broken, or the table can't be written.
pub fn gather(folder: &Folder, plan: &Plan) -> Result<Progress> {
    let (mut progress, mut rows) = (Progress::default(), Vec::new());
    for item in &plan.items {
        interrupt::check()?;
        match folder.state(&item.id) {
            State::Done => {
                progress.done += 1;
                rows.extend(recorded(folder, item)?);
            }
            State::Failed => progress.failed += 1,
            State::Pending => progress.pending += 1,
        }
    }
    progress.rows = rows.len();
    if !rows.is_empty() {
        let table = Table::of_rows(&rows);
        folder.write(TABLE, |to| parquet::write(&table, to))?;
    }
    Ok(progress)
}

/// The rows that a combination recorded, each with its parameters before.
fn recorded(folder: &Folder, item: &Item) -> Result<Vec<Map<String, Json>>> {
    let path = folder.item(&item.id).join(RECORDS);
    let text = match file::read_text(&path, FileKind::Record) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => {
            return Err(error!("{} can't be read: {}", path.display(), describe_io_error(&e)));
        }
    };
    let mut before = Map::new();
    before.insert("item".into(), item.id.as_str().into());
    before.extend(item.parameters.iter().map(|(name, value)| {
        (name.clone(), typed(value).unwrap_or_else(|| value.as_str().into()))
    }));
    if let Some((repetition, seed)) = item.repetition {
        before.insert("repetition".into(), repetition.into());
        before.insert("seed".into(), seed.into());
    }
    let row = |(number, line): (usize, &str)| {
        let cells: Map<String, Json> = serde_json::from_str(line)
            .map_err(|e| error!("{}:{} is no row: {e}", path.display(), number + 1))?;
        let mut row = before.clone();
        for (name, cell) in cells {
            if before.get(&name).is_some_and(|known| *known != cell) {
                return Err(error!(
                    "{}:{}: record(…) gives {name} another value than the sweep does",
                    path.display(),
                    number + 1
                )
                .help("give what is recorded another name"));
            }
            row.insert(name, cell);
        }
        Ok(row)
    };
    text.lines().enumerate().map(row).collect()
}
