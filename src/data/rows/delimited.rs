//! Tables as text: cells with a delimiter between them, under a first row of names. A cell may
//! stand in quotation marks.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::rc::Rc;

use csv::{ByteRecord, ReaderBuilder};
use serde_json::Value as Json;

use super::reader::{Columns, MAX_ROW_BYTES, Row, RowReader, no_column};
use crate::system::file::describe_io_error;
use crate::system::interrupt;
use crate::{Error, Result, bail, error};

/// Which cells are numbers if they are written as one.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// Those of every column. A cell that is no number is a text.
    Everywhere,
    /// Those of no column.
    Nowhere,
    /// Those of these columns, where every cell has to be a number or empty.
    In(Vec<String>),
}

/// Reads a table's rows.
pub struct Delimited {
    name: String,
    from: csv::Reader<Bounded>,
    record: ByteRecord,
    /// How many more bytes may be read for the row under way.
    left: Rc<Cell<usize>>,
    names: Vec<String>,
    /// The places of the columns that are read.
    columns: Vec<usize>,
    numbers: Numbers,
    rows: u64,
}

/// A reader that ends with an error where a row has no end.
struct Bounded {
    from: Box<dyn Read>,
    left: Rc<Cell<usize>>,
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.left.get() == 0 {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let read = self.from.read(into)?;
        self.left.set(self.left.get().saturating_sub(read));
        Ok(read)
    }
}

impl Delimited {
    /// Reads the names of the columns from the first row of `from`, a file called `name`.
    ///
    /// # Errors
    /// There is no such row, two columns have one name, or a column that was asked for is missing.
    pub fn new(
        name: &str,
        from: Box<dyn Read>,
        delimiter: u8,
        columns: &Columns,
        numbers: &Numbers,
    ) -> Result<Self> {
        let left = Rc::new(Cell::new(MAX_ROW_BYTES));
        let bounded = Bounded { from, left: left.clone() };
        let from = ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(1 << 16)
            .from_reader(bounded);
        let mut table = Self {
            name: name.into(),
            from,
            record: ByteRecord::new(),
            left,
            names: Vec::new(),
            columns: Vec::new(),
            numbers: numbers.clone(),
            rows: 0,
        };
        if !table.read_record()? {
            return Err(error!("{name} is empty").help("its first row names the columns"));
        }
        for cell in &table.record {
            let cell = cell.strip_prefix(b"\xef\xbb\xbf").unwrap_or(cell);
            table.names.push(text(cell, name, 1)?.to_owned());
        }
        let mut known = BTreeSet::new();
        if let Some(twice) = table.names.iter().find(|column| !known.insert(column.as_str())) {
            bail!("{name} has two columns {twice:?}");
        }
        let place = |wanted: &String| {
            let at = table.names.iter().position(|known| known == wanted);
            at.ok_or_else(|| no_column(name, wanted, table.names.iter().map(String::as_str)))
        };
        if let Numbers::In(wanted) = numbers {
            wanted.iter().try_for_each(|name| place(name).map(drop))?;
        }
        table.columns = match columns {
            Some(columns) => columns.iter().map(place).collect::<Result<_>>()?,
            None => (0..table.names.len()).collect(),
        };
        Ok(table)
    }

    fn read_record(&mut self) -> Result<bool> {
        if self.rows.is_multiple_of(1 << 10) {
            interrupt::check_run()?;
        }
        self.left.set(MAX_ROW_BYTES);
        let read = self.from.read_byte_record(&mut self.record);
        read.map_err(|e| self.explain(e))
    }

    fn explain(&self, cause: csv::Error) -> Error {
        let place = format!("{}:{}", self.name, self.from.position().line());
        match cause.into_kind() {
            csv::ErrorKind::Io(e) if e.kind() == ErrorKind::FileTooLarge => error!(
                "{place} begins a row of more than {} MiB, and no row is longer",
                MAX_ROW_BYTES >> 20
            )
            .help("is a quotation mark missing that ends a cell?"),
            csv::ErrorKind::Io(e) => error!("{place} can't be read: {}", describe_io_error(&e)),
            _ => error!("{place} can't be read"),
        }
    }

    fn line(&self) -> u64 {
        self.record.position().map_or(1, csv::Position::line)
    }

    fn cell(&self, at: usize) -> Result<Json> {
        let cell = text(self.record.get(at).unwrap_or_default(), &self.name, self.line())?;
        if cell.is_empty() {
            return Ok(Json::Null);
        }
        let column = &self.names[at];
        match &self.numbers {
            Numbers::Everywhere => Ok(number(cell).unwrap_or_else(|| Json::from(cell))),
            Numbers::In(columns) if columns.contains(column) => match number(cell) {
                Some(number) => Ok(number),
                None => bail!("{}: {column} is no number: {cell:?}", self.place()),
            },
            _ => Ok(Json::from(cell)),
        }
    }
}

impl RowReader for Delimited {
    fn next(&mut self) -> Result<Option<Row>> {
        if !self.read_record()? {
            return Ok(None);
        }
        self.rows += 1;
        let (found, expected) = (self.record.len(), self.names.len());
        if found != expected {
            return Err(error!(
                "{} has {found} cells, and there are {expected} columns",
                self.place()
            )
            .help("a cell with a delimiter in it stands in quotation marks"));
        }
        let cell = |&at: &usize| Ok((self.names[at].clone(), self.cell(at)?));
        self.columns.iter().map(cell).collect::<Result<Row>>().map(Some)
    }

    fn skip(&mut self, n: u64) -> Result<u64> {
        for skipped in 0..n {
            if !self.read_record()? {
                return Ok(skipped);
            }
            self.rows += 1;
        }
        Ok(n)
    }

    fn place(&self) -> String {
        format!("{}:{}", self.name, self.line())
    }
}

fn text<'a>(cell: &'a [u8], name: &str, line: u64) -> Result<&'a str> {
    std::str::from_utf8(cell).map_err(|_| error!("{name}:{line} is not UTF-8"))
}

/// The number that a cell is, if it is written as this program would write it: what has leading
/// zeros or a plus sign is a code, and not a number.
pub fn number(cell: &str) -> Option<Json> {
    if let Ok(int) = cell.parse::<i64>()
        && int.to_string() == cell
    {
        return Some(Json::from(int));
    }
    let digits = cell.strip_prefix('-').unwrap_or(cell);
    let has_leading_zero = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    let is_written_as_float = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.contains(['.', 'e', 'E'])
        && !has_leading_zero;
    let float = cell.parse::<f64>().ok().filter(|float| is_written_as_float && float.is_finite());
    float.map(Json::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_cell_that_loses_nothing_as_one() {
        for (cell, value) in [
            ("7", "7"),
            ("-12", "-12"),
            ("0", "0"),
            ("0.5", "0.5"),
            ("1e-3", "0.001"),
            ("2.0", "2.0"),
        ] {
            assert_eq!(number(cell).unwrap().to_string(), value, "{cell}");
        }
        for cell in [
            "007",
            "+1",
            "1,5",
            "",
            "-",
            ".5",
            "00.5",
            "inf",
            "NaN",
            "1e999",
            "12345678901234567890",
            "0x1",
            " 1",
        ] {
            assert_eq!(number(cell), None, "{cell}");
        }
    }
}
