//! Rows of files, read as they go: no more than a row, a page or a window of the compression is in
//! memory at a time.

mod decompress;
mod delimited;
pub mod format;
mod lines;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "parquet")]
mod parquet_zstd;
mod reader;

use std::cell::OnceCell;
use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;

use decompress::decompressed;
use delimited::Delimited;
pub use delimited::{Numbers, number};
use format::Format;
use lines::{Line, Lines};
pub use reader::Row;
use reader::{Columns, RowReader};

use super::selection::Selection;
use crate::Result;
use crate::system::positioned::Positioned;

/// A file of rows: its name, and how it is opened. One of the Hub is fetched then.
pub struct RowFile {
    name: String,
    open: Box<dyn Fn() -> Result<File>>,
    opened: OnceCell<Arc<File>>,
}

impl RowFile {
    /// A file called `name`, which `open` opens when its rows are read.
    pub fn new(name: impl Into<String>, open: impl Fn() -> Result<File> + 'static) -> Self {
        Self { name: name.into(), open: Box::new(open), opened: OnceCell::new() }
    }

    /// A file that is open.
    pub fn of_file(name: impl Into<String>, file: File) -> Self {
        let opened = OnceCell::from(Arc::new(file));
        Self { name: name.into(), open: Box::new(|| Err(crate::error!("it is open"))), opened }
    }

    fn file(&self) -> Result<Arc<File>> {
        match self.opened.get() {
            Some(file) => Ok(file.clone()),
            None => {
                let file = Arc::new((self.open)()?);
                Ok(self.opened.get_or_init(|| file).clone())
            }
        }
    }
}

/// How files of rows are read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The columns that are read; `None` for all.
    pub columns: Option<Vec<String>>,
    /// Which cells of .csv and .tsv are numbers.
    pub numbers: Numbers,
}

/// The rows of one or several files, or a selection of them. They are read anew by each
/// [`iter`](Self::iter).
#[derive(Clone)]
pub struct Rows {
    files: Rc<Files>,
    selection: Selection,
}

struct Files {
    sources: Vec<RowFile>,
    options: ReadOptions,
}

impl Rows {
    /// The rows of files, in order.
    ///
    /// # Errors
    /// A name whose ending is that of no format of rows.
    pub fn new(sources: Vec<RowFile>, options: ReadOptions) -> Result<Self> {
        for source in &sources {
            Format::expect(&source.name)?;
        }
        Ok(Self { files: Rc::new(Files { sources, options }), selection: Selection::ALL })
    }

    /// These rows, or fewer of them.
    pub fn select(&self, change: impl FnOnce(Selection) -> Selection) -> Self {
        Self { files: self.files.clone(), selection: change(self.selection) }
    }

    /// How many rows there are, if that is known without reading them: of Parquet, and where
    /// nothing is selected.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn len(&self) -> Result<Option<u64>> {
        if self.selection.len(u64::MAX) == 0 {
            return Ok(Some(0));
        }
        let mut all = 0;
        for source in &self.files.sources {
            match count(source)? {
                Some(rows) => all = u64::saturating_add(all, rows),
                None => return Ok(None),
            }
        }
        Ok(Some(self.selection.len(all)))
    }

    /// Reads the rows from the first.
    pub fn iter(&self) -> Iter {
        Iter { rows: self.clone(), source: 0, reader: None, at: 0, given: 0, ended: false }
    }

    /// The name of the first file.
    pub fn name(&self) -> &str {
        self.files.sources.first().map_or("no file", |source| &source.name)
    }
}

/// The number of rows of a file that says it.
fn count(source: &RowFile) -> Result<Option<u64>> {
    match Format::expect(&source.name)?.0 {
        #[cfg(feature = "parquet")]
        Format::Parquet => parquet::Parquet::count(&source.name, &source.file()?).map(Some),
        _ => Ok(None),
    }
}

fn open(source: &RowFile, options: &ReadOptions) -> Result<Box<dyn RowReader>> {
    let (format, compression) = Format::expect(&source.name)?;
    let (name, file) = (source.name.as_str(), source.file()?);
    let columns: Columns = options.columns.clone();
    let bytes = || decompressed(Positioned::new(file.clone()), compression);
    let table = |delimiter: u8| -> Result<Box<dyn RowReader>> {
        Ok(Box::new(Delimited::new(name, bytes(), delimiter, &columns, &options.numbers)?))
    };
    Ok(match format {
        Format::JsonLines => Box::new(Lines::new(name, bytes(), Line::Json, columns)),
        Format::Text => {
            if let Some(wanted) = columns.iter().flatten().find(|column| *column != "text") {
                return Err(reader::no_column(name, wanted, ["text"]));
            }
            Box::new(Lines::new(name, bytes(), Line::Text, None))
        }
        Format::Csv => table(b',')?,
        Format::Tsv => table(b'\t')?,
        #[cfg(feature = "parquet")]
        Format::Parquet => Box::new(parquet::Parquet::new(name, &file, &columns)?),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => crate::bail!("this build reads no Parquet: {name}"),
    })
}

/// Reads rows, one after the other. After an error there are no more.
pub struct Iter {
    rows: Rows,
    /// The file that `reader` reads, or that is opened next.
    source: usize,
    reader: Option<Box<dyn RowReader>>,
    /// The place of the next row among all rows of the files.
    at: u64,
    /// How many rows were given.
    given: u64,
    ended: bool,
}

impl Iter {
    /// The place of the row that was read last, for messages.
    pub fn place(&self) -> String {
        self.reader.as_ref().map_or_else(|| self.rows.name().to_owned(), |reader| reader.place())
    }

    fn advance(&mut self) -> Result<Option<Row>> {
        let Some(wanted) = self.rows.selection.place(self.given) else { return Ok(None) };
        let files = self.rows.files.clone();
        loop {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                none => {
                    let Some(source) = files.sources.get(self.source) else { return Ok(None) };
                    self.source += 1;
                    none.insert(open(source, &files.options)?)
                }
            };
            self.at += reader.skip(wanted - self.at)?;
            if self.at == wanted
                && let Some(row) = reader.next()?
            {
                self.at += 1;
                self.given += 1;
                return Ok(Some(row));
            }
            self.reader = None;
        }
    }
}

impl Iterator for Iter {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        if self.ended {
            return None;
        }
        let row = self.advance().transpose();
        self.ended = !matches!(row, Some(Ok(_)));
        row
    }
}
