//! A script's value as data to be saved, and how each format writes it.

use std::io::Write;

use serde_json::{Map, Value as Json};

use super::format::extension::Format;
use super::format::safetensors::Item;
use super::format::table::{Table, cell};
use super::format::{csv, json, npy, npz, parquet, safetensors};
use crate::system::write::write_json;
use crate::{Result, bail, error};

/// Data to be saved.
pub enum Data {
    /// One tensor.
    Tensor(Item),
    /// Tensors by name, in the order in which they are written.
    Tensors(Vec<(String, Item)>),
    /// A table, one map per row.
    Rows(Vec<Map<String, Json>>),
    /// Anything else.
    Json(Json),
}

impl Data {
    /// The file's name and its format: the one that the name's extension asks for, else the one
    /// that fits the data, whose extension is then added.
    pub fn file(&self, name: &str) -> (String, Format) {
        match Format::of(name) {
            Some(format) => (name.to_owned(), format),
            None => {
                let format = match self {
                    Data::Tensor(_) | Data::Tensors(_) => Format::SafeTensors,
                    Data::Rows(_) => Format::Csv,
                    Data::Json(_) => Format::Json,
                };
                (format!("{name}.{}", format.extension()), format)
            }
        }
    }

    /// Writes the data. A single tensor is named after the file, in formats where tensors have
    /// names.
    ///
    /// # Errors
    /// The format can't represent the data, or `to` can't be written to.
    pub fn write(&self, name: &str, format: Format, to: &mut dyn Write) -> Result<()> {
        match format {
            Format::SafeTensors => safetensors::write(&self.tensors(name, "safetensors")?, to),
            Format::Npy => match self {
                Data::Tensor(item) if item.is_padded()? => {
                    Err(error!(".npy holds one tensor, and these are token ids with padding: their mask would be lost")
                        .help("save them as .safetensors, or as plain integers: tensor(ids.to_array())"))
                }
                Data::Tensor(item) => npy::write(&item.value, to),
                _ => Err(error!(".npy holds one tensor").help("save a map of tensors as .safetensors")),
            },
            Format::Npz => npz::write(&self.tensors(name, "npz")?, to),
            Format::Csv => csv::write(&self.table(name, "csv")?, to),
            Format::Parquet => parquet::write(&self.table(name, "parquet")?, to),
            Format::Json => write_json(to, &self.json()?),
            Format::JsonLines => write_lines(self.lines()?.iter().map(Json::to_string), to),
            Format::Text => self.write_text(to),
        }
    }

    /// The values for one line each: the elements of an array, the slices of a tensor, the rows of
    /// a table; else the one value.
    fn lines(&self) -> Result<Vec<Json>> {
        Ok(match self.json()? {
            Json::Array(items) => items,
            one => vec![one],
        })
    }

    /// Writes a text as it is, and an array of texts, numbers or booleans one per line.
    fn write_text(&self, to: &mut dyn Write) -> Result<()> {
        let refused = || {
            error!(".txt holds a text, or a line for each of an array")
                .help("save it as .json, .jsonl or .csv")
        };
        let Data::Json(json) = self else { return Err(refused()) };
        let items = match json {
            Json::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        if items.iter().any(|item| item.is_array() || item.is_object()) {
            return Err(refused());
        }
        write_lines(items.iter().map(cell), to)
    }

    /// The tensors by name; `format` is for messages.
    fn tensors<'a>(&'a self, name: &'a str, format: &str) -> Result<Vec<(&'a str, &'a Item)>> {
        match self {
            Data::Tensor(item) => Ok(vec![(stem(name), item)]),
            Data::Tensors(items) => {
                Ok(items.iter().map(|(name, item)| (name.as_str(), item)).collect())
            }
            _ => Err(error!(".{format} holds tensors, and this is none")
                .help("save it as .json or .csv")),
        }
    }

    /// The data as a table; `format` is for messages.
    fn table(&self, name: &str, format: &str) -> Result<Table> {
        match self {
            Data::Rows(rows) => Ok(Table::of_rows(rows)),
            Data::Tensor(item) => Table::of_tensor(stem(name), &item.value),
            Data::Tensors(items) => {
                let mut table = Table::default();
                for (name, Item { value, .. }) in items {
                    if value.rank() != 1 {
                        bail!("as a column of .{format} {name} must be [n], and it is {:?}", value.dims());
                    }
                    table.join(Table::of_tensor(name, value)?, format)?;
                }
                Ok(table)
            }
            Data::Json(_) => {
                Err(error!(".{format} holds rows and columns, and this is neither a tensor nor an array of maps")
                    .help("save it as .json"))
            }
        }
    }

    fn json(&self) -> Result<Json> {
        Ok(match self {
            Data::Tensor(item) => json::of_tensor(&item.value)?,
            Data::Tensors(items) => Json::Object(
                items
                    .iter()
                    .map(|(name, item)| Ok((name.clone(), json::of_tensor(&item.value)?)))
                    .collect::<Result<_>>()?,
            ),
            Data::Rows(rows) => Json::Array(rows.iter().cloned().map(Json::Object).collect()),
            Data::Json(json) => json.clone(),
        })
    }
}

/// A file's name without folders and extension, by which a single tensor is saved.
fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    match Format::of(file) {
        Some(format) => &file[..file.len() - format.extension().len() - 1],
        None => file,
    }
}

/// Writes each text, with a line feed unless it ends with one.
fn write_lines(lines: impl Iterator<Item = String>, to: &mut dyn Write) -> Result<()> {
    for mut line in lines {
        if !line.ends_with('\n') {
            line.push('\n');
        }
        to.write_all(line.as_bytes()).map_err(|e| error!("{e}"))?;
    }
    Ok(())
}
