//! Tables as CSV.

use std::io::{Read, Write};

use serde_json::Value as Json;

use super::table::{Table, cell};
use crate::{Result, error};

/// The text of a cell. One that a spreadsheet would run as a formula gets a `'` in front, as OWASP
/// advises against CSV injection; so does one that already looks escaped that way, so that the
/// escape can be undone. A text that is a number is not a formula.
fn harmless_cell(text: String) -> String {
    let formula = text
        .trim_start_matches('\'')
        .starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    if formula && text.parse::<f64>().is_err() { format!("'{text}") } else { text }
}

/// Writes a header line with the column names, then a line for each row.
///
/// # Errors
/// `to` can't be written to.
pub fn write(table: &Table, to: &mut dyn Write) -> Result<()> {
    let mut writer = csv::Writer::from_writer(to);
    let failed = |e: csv::Error| error!("{e}");
    writer.write_record(table.columns.iter().cloned().map(harmless_cell)).map_err(failed)?;
    for row in &table.rows {
        writer.write_record(row.iter().map(cell).map(harmless_cell)).map_err(failed)?;
    }
    writer.flush().map_err(|e| error!("{e}"))
}

/// Reads a table that [`write()`] wrote. Every cell is a text.
///
/// # Errors
/// The text is not CSV.
pub fn read(from: impl Read) -> Result<Table> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(from);
    let failed = |e: csv::Error| error!("this is no CSV: {e}");
    let columns = reader.headers().map_err(failed)?.iter().map(str::to_owned).collect();
    let cells = |row: csv::StringRecord| row.iter().map(Json::from).collect();
    let rows =
        reader.records().map(|row| row.map(cells)).collect::<Result<_, _>>().map_err(failed)?;
    Ok(Table { columns, rows })
}
