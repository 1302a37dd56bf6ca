//! What can be saved, and in which format.

use std::collections::HashMap;
use std::io::Write;

use candle_core::{DType, Device};
use serde_json::{Map, Value as Json};

use super::{npy, parquet};
use crate::system::write::write_json;
use crate::tensor::transfer::bytes::to_le_bytes;
use crate::tensor::{Value, dtype};
use crate::{Result, bail, error};

/// A tensor to be saved; of token ids also which are real.
pub struct Item {
    pub value: Value,
    pub mask: Option<Value>,
}

/// Something to be saved.
pub enum Data {
    Tensor(Item),
    Tensors(Vec<(String, Item)>),
    /// One map a row.
    Rows(Vec<Map<String, Json>>),
    Json(Json),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    SafeTensors,
    Npy,
    Csv,
    Parquet,
    Json,
    /// One value a line.
    JsonLines,
    Text,
}

impl Format {
    const ALL: [Format; 7] = [
        Format::SafeTensors,
        Format::Npy,
        Format::Csv,
        Format::Parquet,
        Format::Json,
        Format::JsonLines,
        Format::Text,
    ];

    pub fn extension(self) -> &'static str {
        match self {
            Format::SafeTensors => "safetensors",
            Format::Npy => "npy",
            Format::Csv => "csv",
            Format::Parquet => "parquet",
            Format::Json => "json",
            Format::JsonLines => "jsonl",
            Format::Text => "txt",
        }
    }

    /// The format that a name's extension chooses; an ending that is none of these is part of the
    /// name.
    fn of(name: &str) -> Option<Format> {
        let (stem, ending) = name.rsplit_once('.')?;
        let chosen = |format: &Format| format.extension().eq_ignore_ascii_case(ending);
        Format::ALL.into_iter().find(|format| !stem.is_empty() && chosen(format))
    }
}

/// Endings that people know as formats, and in which nothing is saved.
const FOREIGN: &[&str] = &[
    "7z",
    "arrow",
    "avi",
    "bin",
    "bz2",
    "cfg",
    "ckpt",
    "conf",
    "dat",
    "db",
    "doc",
    "docx",
    "eps",
    "feather",
    "gguf",
    "ggml",
    "gz",
    "h5",
    "hdf5",
    "htm",
    "html",
    "ini",
    "ipynb",
    "jsonlines",
    "lock",
    "log",
    "mat",
    "md",
    "msgpack",
    "ndjson",
    "npz",
    "onnx",
    "orc",
    "pickle",
    "pkl",
    "proto",
    "pt",
    "pth",
    "py",
    "rds",
    "rhai",
    "rtf",
    "sql",
    "sqlite",
    "tar",
    "tex",
    "tgz",
    "toml",
    "tsv",
    "xls",
    "xlsx",
    "xml",
    "yaml",
    "yml",
    "zarr",
    "zip",
    "zst",
];

/// Endings of pictures.
const PICTURES: &[&str] =
    &["bmp", "gif", "jpeg", "jpg", "pdf", "png", "svg", "tif", "tiff", "webp"];

/// The ending of a name that looks like a format and is none of ours.
pub fn foreign_ending(name: &str) -> Option<&str> {
    let (stem, ending) = name.rsplit('/').next()?.rsplit_once('.')?;
    let known = |list: &[&str]| list.iter().any(|known| known.eq_ignore_ascii_case(ending));
    (!stem.is_empty() && (known(FOREIGN) || known(PICTURES))).then_some(ending)
}

pub fn is_picture(ending: &str) -> bool {
    PICTURES.iter().any(|known| known.eq_ignore_ascii_case(ending))
}

/// The formats, as a person reads them.
pub fn formats() -> String {
    Format::ALL.map(|format| format!(".{}", format.extension())).join(" ")
}

impl Item {
    /// Whether it is token ids of which some are padding.
    fn is_padded(&self) -> Result<bool> {
        let Some(mask) = &self.mask else { return Ok(false) };
        Ok(bytes_of(mask.real("the mask")?)?.contains(&0))
    }
}

/// Under which word of a .safetensors file's metadata the tensors that are token ids are named, as
/// an array in JSON.
pub const TOKEN_IDS: &str = "token_ids";

/// The name of the mask of token ids, which is there where some are padding.
pub fn mask_name(ids: &str) -> String {
    format!("{ids}.mask")
}

impl Data {
    /// The file's name and format: as the name says, else as the data suggests.
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

    /// Writes the data; a lone tensor stands under the key `name` where the format has keys.
    ///
    /// # Errors
    /// What can't be said in the format.
    pub fn write(&self, name: &str, format: Format, to: &mut dyn Write) -> Result<()> {
        match format {
            Format::SafeTensors => self.write_safetensors(name, to),
            Format::Npy => match self {
                Data::Tensor(item) if item.is_padded()? => {
                    Err(error!(".npy holds one tensor, and these are token ids with padding: their mask would be lost")
                        .help("save them as .safetensors, or as plain integers: tensor(ids.to_array())"))
                }
                Data::Tensor(item) => npy::write(&item.value, to),
                _ => Err(error!(".npy holds one tensor").help("save a map of tensors as .safetensors")),
            },
            Format::Csv => write_csv(&self.table(name, "csv")?, to),
            Format::Parquet => parquet::write(&self.table(name, "parquet")?, to),
            Format::Json => write_json(to, &self.json()?),
            Format::JsonLines => write_lines(self.lines()?.iter().map(Json::to_string), to),
            Format::Text => self.write_text(to),
        }
    }

    /// One value a line: the elements of an array, the slices of a tensor, the rows; else all in
    /// one.
    fn lines(&self) -> Result<Vec<Json>> {
        Ok(match self.json()? {
            Json::Array(items) => items,
            one => vec![one],
        })
    }

    /// A text as it is; of an array a line for each text, number or bool.
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

    fn write_safetensors(&self, name: &str, to: &mut dyn Write) -> Result<()> {
        let items: Vec<(&str, &Item)> = match self {
            Data::Tensor(item) => vec![(stem(name), item)],
            Data::Tensors(items) => {
                items.iter().map(|(name, item)| (name.as_str(), item)).collect()
            }
            _ => {
                return Err(error!(".safetensors holds tensors, and this is none")
                    .help("save it as .json or .csv"));
            }
        };
        let (mut views, mut ids) = (Vec::new(), Vec::new());
        for &(name, item) in &items {
            views.push((name.to_owned(), View::new(&item.value).map_err(|e| e.at(name))?));
            ids.extend(item.mask.is_some().then_some(name));
            if let Some(mask) = item.mask.as_ref().filter(|_| item.is_padded().unwrap_or(true)) {
                let of = mask_name(name);
                if items.iter().any(|(name, _)| *name == of) {
                    bail!(
                        "{of} is the name under which the mask of {name} is saved: give that tensor another"
                    );
                }
                views.push((of, View::new(mask)?));
            }
        }
        let says = (!ids.is_empty())
            .then(|| HashMap::from([(TOKEN_IDS.to_owned(), Json::from(ids).to_string())]));
        let bytes = safetensors::serialize(views, says)
            .map_err(|e| error!("the tensors can't be written: {e}"))?;
        to.write_all(&bytes).map_err(|e| error!("{e}"))
    }

    /// Columns and rows.
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
            Data::Tensor(item) => nested(&item.value)?,
            Data::Tensors(items) => Json::Object(
                items
                    .iter()
                    .map(|(name, item)| Ok((name.clone(), nested(&item.value)?)))
                    .collect::<Result<_>>()?,
            ),
            Data::Rows(rows) => Json::Array(rows.iter().cloned().map(Json::Object).collect()),
            Data::Json(json) => json.clone(),
        })
    }
}

/// A name without folders and extension: the key of a lone tensor.
fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    match Format::of(file) {
        Some(format) => &file[..file.len() - format.extension().len() - 1],
        None => file,
    }
}

/// Rows of cells under named columns.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Json>>,
}

impl Table {
    /// Columns in the order in which rows first have them; a cell that a row lacks is null.
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

    /// A tensor `[n]` as one column, `[n, m]` as m columns.
    ///
    /// # Errors
    /// Another rank.
    pub fn of_tensor(name: &str, value: &Value) -> Result<Table> {
        let rows = match (value.rank(), nested(value)?) {
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

    fn join(&mut self, other: Table, format: &str) -> Result<()> {
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

/// A cell as text: nothing for null, a string as it is, anything nested as JSON.
pub fn cell(json: &Json) -> String {
    match json {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A text as a cell of a .csv: one that a spreadsheet would run as a formula has a `'` before it,
/// as OWASP advises, and so has one that looks as if it had such a `'` already. A number, in a text
/// too, is no formula.
fn harmless_cell(text: String) -> String {
    let formula = text
        .trim_start_matches('\'')
        .starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    if formula && text.parse::<f64>().is_err() { format!("'{text}") } else { text }
}

fn write_csv(table: &Table, to: &mut dyn Write) -> Result<()> {
    let mut writer = csv::Writer::from_writer(to);
    let failed = |e: csv::Error| error!("{e}");
    writer.write_record(table.columns.iter().cloned().map(harmless_cell)).map_err(failed)?;
    for row in &table.rows {
        writer.write_record(row.iter().map(cell).map(harmless_cell)).map_err(failed)?;
    }
    writer.flush().map_err(|e| error!("{e}"))
}

/// Each text with an end of line, where it has none.
fn write_lines(lines: impl Iterator<Item = String>, to: &mut dyn Write) -> Result<()> {
    for mut line in lines {
        if !line.ends_with('\n') {
            line.push('\n');
        }
        to.write_all(line.as_bytes()).map_err(|e| error!("{e}"))?;
    }
    Ok(())
}

/// A number, or the name of what JSON has no number for.
pub fn json_number(x: f64) -> Json {
    serde_json::Number::from_f64(x).map_or_else(
        || {
            let name = if x.is_nan() {
                "NaN"
            } else if x > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            };
            Json::String(name.into())
        },
        Json::Number,
    )
}

/// A tensor as nested arrays; complex numbers as `{"re", "im"}`.
pub fn nested(value: &Value) -> Result<Json> {
    let flat: Vec<Json> = match value {
        Value::Bool(t) => bytes_of(t)?.into_iter().map(|b| Json::Bool(b != 0)).collect(),
        Value::Complex(c) => {
            let (re, im) = (floats_of(&c.re)?, floats_of(&c.im)?);
            let number =
                |(re, im)| serde_json::json!({"re": json_number(re), "im": json_number(im)});
            re.into_iter().zip(im).map(number).collect()
        }
        Value::Real(t) if t.dtype().is_int() => t
            .to_device(&Device::Cpu)?
            .to_dtype(DType::I64)?
            .flatten_all()?
            .to_vec1::<i64>()?
            .into_iter()
            .map(Json::from)
            .collect(),
        // The shortest decimal of a float32 is not that of the same number in float64.
        Value::Real(t) if t.dtype() == DType::F32 => {
            let floats = t.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
            floats
                .into_iter()
                .map(|x| x.to_string().parse().map_or(Json::Null, json_number))
                .collect()
        }
        Value::Real(t) => floats_of(t)?.into_iter().map(json_number).collect(),
    };
    fn fold(dims: &[usize], flat: &mut impl Iterator<Item = Json>) -> Json {
        match dims {
            [] => flat.next().unwrap_or(Json::Null),
            [n, rest @ ..] => Json::Array((0..*n).map(|_| fold(rest, flat)).collect()),
        }
    }
    Ok(fold(value.dims(), &mut flat.into_iter()))
}

fn bytes_of(t: &candle_core::Tensor) -> Result<Vec<u8>> {
    Ok(t.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
}

fn floats_of(t: &candle_core::Tensor) -> Result<Vec<f64>> {
    Ok(t.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

/// A tensor as the safetensors crate wants it.
struct View {
    dtype: safetensors::Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View {
    fn new(value: &Value) -> Result<Self> {
        use safetensors::Dtype;
        let dtype = match value {
            Value::Bool(_) => Dtype::BOOL,
            Value::Complex(c) if c.re.dtype() == DType::F32 => Dtype::C64,
            Value::Complex(_) => {
                return Err(error!(".safetensors has no complex numbers of float64")
                    .help("save .real and .imag"));
            }
            Value::Real(t) => dtype::to_safetensors(t.dtype())
                .ok_or_else(|| error!(".safetensors of {} can't be written", t.dtype().as_str()))?,
        };
        Ok(Self { dtype, shape: value.dims().to_vec(), bytes: to_le_bytes(value)? })
    }
}

impl safetensors::View for View {
    fn dtype(&self) -> safetensors::Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        (&self.bytes).into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
