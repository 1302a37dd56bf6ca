//! Rows under named columns, as CSV, Parquet and the terminal show them.

use serde_json::{Map, Value as Json};

use super::json;
use crate::tensor::Value;
use crate::{Result, bail};

/// A table.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Table {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The cells of each row, as many as there are columns.
    pub rows: Vec<Vec<Json>>,
}

impl Table {
    /// A table of maps, one per row. Columns are in the order in which they first appear; a cell
    /// that a row does not have is null.
    pub fn of_rows(rows: &[Map<String, Json>]) -> Table {
        let mut columns: Vec<String> = Vec::new();
        for key in rows.iter().flat_map(|row| row.keys()) {
            if !columns.contains(key) {
                columns.push(key.clone());
            }
        }
        let cells = |row: &Map<String, Json>| {
            columns.iter().map(|column| row.get(column).cloned().unwrap_or(Json::Null)).collect()
        };
        Table { rows: rows.iter().map(cells).collect(), columns }
    }

    /// A tensor `[n]` as one column called `name`, or `[n, m]` as m columns called by their index.
    ///
    /// # Errors
    /// A tensor of another rank.
    pub fn of_tensor(name: &str, value: &Value) -> Result<Table> {
        let rows = match (value.rank(), json::of_tensor(value)?) {
            (1, Json::Array(cells)) => cells.into_iter().map(|cell| vec![cell]).collect(),
            (2, Json::Array(rows)) => rows
                .into_iter()
                .map(|row| match row {
                    Json::Array(cells) => cells,
                    cell => vec![cell],
                })
                .collect(),
            _ => bail!("a table is made of a tensor [n] or [n, m], not {:?}", value.dims()),
        };
        let columns = match value.dims() {
            [_, m] => (0..*m).map(|i| i.to_string()).collect(),
            _ => vec![name.to_owned()],
        };
        Ok(Table { columns, rows })
    }

    /// Appends the columns of `other`; `format` is for the message.
    ///
    /// # Errors
    /// The tables have different numbers of rows.
    pub fn join(&mut self, other: Table, format: &str) -> Result<()> {
        if !self.columns.is_empty() && self.rows.len() != other.rows.len() {
            bail!(
                "columns of .{format} must be as long as each other, and are {} and {}",
                self.rows.len(),
                other.rows.len()
            );
        }
        self.columns.extend(other.columns);
        if self.rows.is_empty() {
            self.rows = other.rows;
        } else {
            self.rows.iter_mut().zip(other.rows).for_each(|(mine, theirs)| mine.extend(theirs));
        }
        Ok(())
    }
}

/// A cell as text: empty for null, a string as it is, anything nested as JSON.
pub fn cell(json: &Json) -> String {
    match json {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}
