//! What reads the rows of one file, one after the other.

use serde_json::{Map, Value as Json};

use crate::Result;

/// A row: the cells by the names of their columns.
pub type Row = Map<String, Json>;

/// The most bytes that one row may have as text. What is read of a file at a time stays below it,
/// whatever the file holds.
pub const MAX_ROW_BYTES: usize = 64 << 20;

/// Reads the rows of one file.
pub trait RowReader {
    /// The next row; nothing at the end of the file.
    ///
    /// # Errors
    /// The row is broken or can't be read; the message names the file and the line.
    fn next(&mut self) -> Result<Option<Row>>;

    /// Passes over `n` rows without reading what they hold, and returns how many there were.
    ///
    /// # Errors
    /// As [`next`](Self::next), as far as that is seen.
    fn skip(&mut self, n: u64) -> Result<u64>;

    /// The place of the row that was read last, for messages: `rows.jsonl:17`.
    fn place(&self) -> String;
}

/// The columns that are read; `None` for all.
pub type Columns = Option<Vec<String>>;

/// The error of a file without a column that was asked for; `known` are those it has.
pub fn no_column<'a>(
    place: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> crate::Error {
    let error = crate::error!("{place} has no column {name:?}");
    match crate::did_you_mean(name, known) {
        Some(help) => error.help(help),
        None => error,
    }
}
