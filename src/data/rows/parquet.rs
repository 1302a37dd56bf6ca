//! Rows of Parquet files, read page by page.

use std::fs::File;
use std::sync::Arc;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::{ReaderIter, TreeBuilder};
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type};
use serde_json::Value as Json;

use super::parquet_zstd::ZstdGroup;
use super::reader::{Columns, Row, RowReader, no_column};
use crate::output::format::json;
use crate::system::{interrupt, panics};
use crate::{Error, Result, bail, error};

/// How deep the values of a column may nest, and how many columns a file may have. Its schema is
/// read by recursion, and has one entry for each.
const MAX_DEPTH: usize = 32;
const MAX_COLUMNS: usize = 10_000;

/// Reads the rows of a Parquet file.
pub struct Parquet {
    name: String,
    file: Arc<File>,
    reader: SerializedFileReader<File>,
    schema: SchemaDescPtr,
    /// The group of rows that is read next.
    next_group: usize,
    group: Option<ReaderIter>,
    /// The number of the row that was read last, from 1.
    number: u64,
}

impl Parquet {
    /// Reads the metadata of a file called `name`.
    ///
    /// # Errors
    /// It is no Parquet, or lacks a column that was asked for.
    pub fn new(name: &str, file: &Arc<File>, columns: &Columns) -> Result<Self> {
        let reader = open(name, file)?;
        let root = reader.metadata().file_metadata().schema();
        if depth(root, 0) > MAX_DEPTH
            || reader.metadata().file_metadata().schema_descr().num_columns() > MAX_COLUMNS
        {
            bail!("{name} has columns nested {MAX_DEPTH} deep, or more than {MAX_COLUMNS} of them");
        }
        let schema = projected(name, root, columns)?;
        Ok(Self {
            name: name.into(),
            file: file.clone(),
            reader,
            schema: Arc::new(SchemaDescriptor::new(Arc::new(schema))),
            next_group: 0,
            group: None,
            number: 0,
        })
    }

    /// The number of rows of a file, from its metadata.
    ///
    /// # Errors
    /// It is no Parquet.
    pub fn count(name: &str, file: &Arc<File>) -> Result<u64> {
        let rows = open(name, file)?.metadata().file_metadata().num_rows();
        u64::try_from(rows).map_err(|_| error!("{name} is broken: it says that it has {rows} rows"))
    }

    fn broken(&self, cause: &parquet::errors::ParquetError) -> Error {
        error!("{}: row {} can't be read: {cause}", self.name, self.number + 1)
    }

    /// The number of rows of the group that is read next; nothing if there is none.
    fn rows_of_next_group(&self) -> Option<u64> {
        let groups = self.reader.metadata();
        (self.next_group < groups.num_row_groups())
            .then(|| u64::try_from(groups.row_group(self.next_group).num_rows()).unwrap_or(0))
    }

    fn open_group(&mut self) -> Result<bool> {
        if self.rows_of_next_group().is_none() {
            return Ok(false);
        }
        let group = self.reader.get_row_group(self.next_group).map_err(|e| self.broken(&e))?;
        let group = ZstdGroup::new(group, self.file.clone());
        let rows = self.foreign(|| TreeBuilder::new().as_iter(self.schema.clone(), &group))?;
        self.group = Some(rows.map_err(|e| self.broken(&e))?);
        self.next_group += 1;
        Ok(true)
    }

    /// Calls the library, which panics on some broken files.
    fn foreign<T>(&self, call: impl FnOnce() -> T) -> Result<T> {
        panics::catch_foreign(call, || {
            error!(
                "{}: row {} can't be read: the file contradicts itself",
                self.name,
                self.number + 1
            )
        })
    }

    /// The next row as the library has it.
    fn read(&mut self) -> Result<Option<parquet::record::Row>> {
        loop {
            if let Some(mut group) = self.group.take() {
                let (group, row) = self.foreign(|| {
                    let row = group.next();
                    (group, row)
                })?;
                if let Some(row) = row {
                    self.group = Some(group);
                    let row = row.map_err(|e| self.broken(&e))?;
                    self.number += 1;
                    return Ok(Some(row));
                }
            }
            if !self.open_group()? {
                return Ok(None);
            }
        }
    }
}

impl RowReader for Parquet {
    fn next(&mut self) -> Result<Option<Row>> {
        let Some(row) = self.read()? else { return Ok(None) };
        let cell = |(name, field): (String, Field)| Ok((name, cell(&field)?));
        let row = row.into_columns().into_iter().map(cell).collect::<Result<Row>>();
        row.map(Some).map_err(|e| e.at(self.place()))
    }

    fn skip(&mut self, n: u64) -> Result<u64> {
        let mut skipped = 0;
        while skipped < n {
            if self.group.is_none()
                && let Some(rows) = self.rows_of_next_group()
                && rows <= n - skipped
            {
                self.next_group += 1;
                self.number += rows;
                skipped += rows;
                continue;
            }
            if self.read()?.is_none() {
                break;
            }
            skipped += 1;
            if skipped.is_multiple_of(1 << 10) {
                interrupt::check_run()?;
            }
        }
        Ok(skipped)
    }

    fn place(&self) -> String {
        format!("{}: row {}", self.name, self.number)
    }
}

fn open(name: &str, file: &Arc<File>) -> Result<SerializedFileReader<File>> {
    let file = file.try_clone().map_err(|e| error!("{name} can't be read: {e}"))?;
    let opened = panics::catch_foreign(
        || SerializedFileReader::new(file),
        || error!("{name} is no Parquet that can be read: it contradicts itself"),
    )?;
    opened.map_err(|e| error!("{name} is no Parquet that can be read: {e}"))
}

fn depth(of: &Type, above: usize) -> usize {
    match of {
        Type::GroupType { fields, .. } if above <= MAX_DEPTH => {
            fields.iter().map(|field| depth(field, above + 1)).max().unwrap_or(above)
        }
        _ => above,
    }
}

/// The schema of the columns that were asked for.
fn projected(name: &str, root: &Type, columns: &Columns) -> Result<Type> {
    let Some(columns) = columns else { return Ok(root.clone()) };
    let known = root.get_fields();
    let names = || known.iter().map(|field| field.name());
    let field = |wanted: &String| {
        let found = known.iter().find(|field| field.name() == wanted);
        found.cloned().ok_or_else(|| no_column(name, wanted, names().collect::<Vec<_>>()))
    };
    let fields = columns.iter().map(field).collect::<Result<_>>()?;
    let built = Type::group_type_builder(root.name()).with_fields(fields).build();
    built.map_err(|e| error!("{name} can't be read: {e}"))
}

fn cell(field: &Field) -> Result<Json> {
    Ok(match field {
        Field::Null => Json::Null,
        Field::Bool(flag) => Json::from(*flag),
        Field::Byte(n) => Json::from(*n),
        Field::Short(n) => Json::from(*n),
        Field::Int(n) | Field::TimeMillis(n) => Json::from(*n),
        Field::Long(n) | Field::TimeMicros(n) => Json::from(*n),
        Field::UByte(n) => Json::from(*n),
        Field::UShort(n) => Json::from(*n),
        Field::UInt(n) => Json::from(*n),
        Field::ULong(n) => Json::from(*n),
        Field::Float16(x) => json::number(f64::from(x.to_f32())),
        Field::Float(x) => json::number(f64::from(*x)),
        Field::Double(x) => json::number(*x),
        Field::Decimal(_)
        | Field::Date(_)
        | Field::TimestampMillis(_)
        | Field::TimestampMicros(_) => Json::from(field.to_string()),
        Field::Str(text) => Json::from(text.as_str()),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Json::from(text),
            Err(_) => Json::Array(bytes.data().iter().map(|byte| Json::from(*byte)).collect()),
        },
        Field::Group(row) => {
            let entry = |(name, field): (&String, &Field)| Ok((name.clone(), cell(field)?));
            Json::Object(row.get_column_iter().map(entry).collect::<Result<_>>()?)
        }
        Field::ListInternal(list) => {
            Json::Array(list.elements().iter().map(cell).collect::<Result<_>>()?)
        }
        Field::MapInternal(map) => {
            let entry = |(key, value): &(Field, Field)| match cell(key)? {
                Json::String(key) => Ok((key, cell(value)?)),
                other => Ok((other.to_string(), cell(value)?)),
            };
            Json::Object(map.entries().iter().map(entry).collect::<Result<_>>()?)
        }
    })
}
