//! Tables as Parquet. A column of integers, floats or booleans has that type; any other column is
//! text.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::record::Field;
use parquet::schema::types::Type;
use serde_json::Value as Json;

use super::table::{Table, cell};
use crate::{Result, error};

/// Reads a table that [`write()`] wrote. Every cell is a text.
///
/// # Errors
/// The file is not Parquet.
pub fn read(file: File) -> Result<Table> {
    let failed = |e: parquet::errors::ParquetError| error!("this is no Parquet: {e}");
    let file = SerializedFileReader::new(file).map_err(failed)?;
    let schema = file.metadata().file_metadata().schema_descr();
    let columns = schema.columns().iter().map(|column| column.name().to_owned()).collect();
    let mut table = Table { columns, rows: Vec::new() };
    for row in file.get_row_iter(None).map_err(failed)? {
        let row = row.map_err(failed)?;
        let cell = |(_, field): (&String, &Field)| match field {
            Field::Str(text) => Json::from(text.as_str()),
            other => Json::from(other.to_string()),
        };
        table.rows.push(row.get_column_iter().map(cell).collect());
    }
    Ok(table)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Bool,
    Int,
    Float,
    Text,
}

/// Writes a table in one row group, compressed with Snappy.
///
/// # Errors
/// A table without columns, or `to` can't be written to.
pub fn write(table: &Table, to: &mut dyn Write) -> Result<()> {
    let failed =
        |e: parquet::errors::ParquetError| error!("the table can't be written as Parquet: {e}");
    let kinds: Vec<Kind> = (0..table.columns.len()).map(|column| kind(table, column)).collect();
    let fields = table.columns.iter().zip(&kinds).map(|(name, kind)| {
        let (physical, converted) = match kind {
            Kind::Bool => (Physical::BOOLEAN, ConvertedType::NONE),
            Kind::Int => (Physical::INT64, ConvertedType::NONE),
            Kind::Float => (Physical::DOUBLE, ConvertedType::NONE),
            Kind::Text => (Physical::BYTE_ARRAY, ConvertedType::UTF8),
        };
        let field = Type::primitive_type_builder(name, physical);
        field
            .with_repetition(Repetition::OPTIONAL)
            .with_converted_type(converted)
            .build()
            .map(Arc::new)
    });
    let fields = fields.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let schema = Type::group_type_builder("table").with_fields(fields).build().map_err(failed)?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties))
        .map_err(failed)?;
    let mut group = file.next_row_group().map_err(failed)?;
    for (column, kind) in kinds.into_iter().enumerate() {
        write_column(&mut group, table, column, kind).map_err(failed)?;
    }
    group.close().map_err(failed)?;
    file.close().map_err(failed)?;
    to.write_all(&bytes).map_err(|e| error!("{e}"))
}

/// The type that every cell of a column has; nulls fit every type.
fn kind(table: &Table, column: usize) -> Kind {
    let mut cells =
        table.rows.iter().map(|row| &row[column]).filter(|cell| !cell.is_null()).peekable();
    if cells.peek().is_none() {
        return Kind::Text;
    }
    let cells: Vec<&Json> = cells.collect();
    if cells.iter().all(|cell| cell.is_boolean()) {
        Kind::Bool
    } else if cells.iter().all(|cell| cell.is_i64()) {
        Kind::Int
    } else if cells.iter().all(|cell| float(cell).is_some()) {
        Kind::Float
    } else {
        Kind::Text
    }
}

/// A number, given as such or by the name that [`json::number`](super::json::number) gives it.
fn float(cell: &Json) -> Option<f64> {
    match cell {
        Json::String(name) => match name.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        other => other.as_f64(),
    }
}

fn write_column(
    group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
    table: &Table,
    column: usize,
    kind: Kind,
) -> parquet::errors::Result<()> {
    let Some(mut writer) = group.next_column()? else { return Ok(()) };
    let cells = || table.rows.iter().map(|row| &row[column]);
    let present: Vec<i16> = cells().map(|cell| i16::from(!cell.is_null())).collect();
    let cells = cells().filter(|cell| !cell.is_null());
    match kind {
        Kind::Bool => {
            let values: Vec<bool> = cells.filter_map(Json::as_bool).collect();
            writer.typed::<BoolType>().write_batch(&values, Some(&present), None)?;
        }
        Kind::Int => {
            let values: Vec<i64> = cells.filter_map(Json::as_i64).collect();
            writer.typed::<Int64Type>().write_batch(&values, Some(&present), None)?;
        }
        Kind::Float => {
            let values: Vec<f64> = cells.filter_map(float).collect();
            writer.typed::<DoubleType>().write_batch(&values, Some(&present), None)?;
        }
        Kind::Text => {
            let values: Vec<ByteArray> =
                cells.map(|json| ByteArray::from(cell(json).as_str())).collect();
            writer.typed::<ByteArrayType>().write_batch(&values, Some(&present), None)?;
        }
    }
    writer.close()
}
