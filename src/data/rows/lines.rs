//! Files with a row on each line: texts, and maps in JSON.

use std::io::{BufRead, BufReader, Read};

use serde_json::Value as Json;

use super::reader::{Columns, MAX_ROW_BYTES, Row, RowReader, no_column};
use crate::system::file::describe_io_error;
use crate::system::interrupt;
use crate::{Result, bail, error, without_rust_types};

/// How a line becomes a row.
pub enum Line {
    /// The line is the cell of the column `text`. Each line is a row, also an empty one.
    Text,
    /// The line is a map in JSON. Empty lines are none.
    Json,
}

/// Reads lines as rows.
pub struct Lines {
    name: String,
    from: BufReader<Box<dyn Read>>,
    line: Vec<u8>,
    /// The number of the line in `line`, from 1.
    number: u64,
    kind: Line,
    columns: Columns,
}

impl Lines {
    /// Reads the lines of `from`, a file called `name`.
    pub fn new(name: &str, from: Box<dyn Read>, kind: Line, columns: Columns) -> Self {
        Self {
            name: name.into(),
            from: BufReader::with_capacity(1 << 16, from),
            line: Vec::new(),
            number: 0,
            kind,
            columns,
        }
    }

    /// Reads the next line that is a row into `line`, without its end. `false` at the end.
    fn read_line(&mut self) -> Result<bool> {
        loop {
            self.number += 1;
            if self.number.is_multiple_of(1 << 10) {
                interrupt::check_run()?;
            }
            self.line.clear();
            let mut rest = (&mut self.from).take(MAX_ROW_BYTES as u64 + 1);
            let read = rest.read_until(b'\n', &mut self.line);
            let read = read
                .map_err(|e| error!("{} can't be read: {}", self.place(), describe_io_error(&e)))?;
            if read == 0 {
                return Ok(false);
            }
            if self.line.ends_with(b"\n") {
                self.line.pop();
            } else if self.line.len() > MAX_ROW_BYTES {
                bail!(
                    "{} has more than {} MiB, and no row is longer",
                    self.place(),
                    MAX_ROW_BYTES >> 20
                );
            }
            if self.line.ends_with(b"\r") {
                self.line.pop();
            }
            if self.number == 1 && self.line.starts_with(b"\xef\xbb\xbf") {
                self.line.drain(..3);
            }
            if matches!(self.kind, Line::Text) || !self.line.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    fn row(&mut self) -> Result<Row> {
        match self.kind {
            Line::Text => {
                let Ok(text) = std::str::from_utf8(&self.line) else {
                    bail!("{} is not UTF-8", self.place())
                };
                Ok(Row::from_iter([("text".to_owned(), Json::from(text))]))
            }
            Line::Json => self.map(),
        }
    }

    fn map(&self) -> Result<Row> {
        let mut row = match serde_json::from_slice(&self.line) {
            Ok(Json::Object(row)) => row,
            Ok(other) => {
                let what = match other {
                    Json::Array(_) => "an array",
                    Json::String(_) => "a text",
                    Json::Number(_) => "a number",
                    _ => "none",
                };
                return Err(error!(
                    "{} is {what}: a row is a map, as in {{\"text\": \"…\"}}",
                    self.place()
                ));
            }
            Err(e) => {
                let said = e.to_string();
                let said = said.split(" at line ").next().unwrap_or_default();
                bail!(
                    "{} is no JSON: {} at column {}",
                    self.place(),
                    without_rust_types(said),
                    e.column()
                )
            }
        };
        let Some(columns) = &self.columns else { return Ok(row) };
        let cells = columns.iter().map(|name| match row.remove(name) {
            Some(cell) => Ok((name.clone(), cell)),
            None => Err(no_column(&self.place(), name, row.keys().map(String::as_str))),
        });
        cells.collect::<Result<Vec<_>>>().map(Row::from_iter)
    }
}

impl RowReader for Lines {
    fn next(&mut self) -> Result<Option<Row>> {
        if self.read_line()? { self.row().map(Some) } else { Ok(None) }
    }

    fn skip(&mut self, n: u64) -> Result<u64> {
        for skipped in 0..n {
            if !self.read_line()? {
                return Ok(skipped);
            }
        }
        Ok(n)
    }

    fn place(&self) -> String {
        format!("{}:{}", self.name, self.number)
    }
}
