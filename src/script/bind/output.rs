//! `save`, `table`, `progress`: writing and showing a script's values.

use std::rc::Rc;

use indicatif::{ProgressBar, ProgressStyle};
use rhai::{Array, Dynamic, Map, NativeCallContext};
use serde_json::Value as Json;

use super::key_order::Order;
use super::numbers::labels;
use crate::output::format;
use crate::output::format::extension;
use crate::output::format::safetensors::Item;
use crate::output::format::table::{Table, cell};
use crate::output::picture::table;
use crate::output::save::Data;
use crate::output::{Run, items, picture};
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::diagnostics::try_catch::Caught;
use crate::script::errors::error::ScriptResult;
use crate::script::program::source::Sources;
use crate::script::run::console::{Console, terminal_width};
use crate::script::value::Handle;
use crate::script::value::options::{Options, describe};
use crate::script::value::record;
use crate::system::{escape, message, progress};
use crate::{Result, bail, did_you_mean, error};

/// A script's value in the form in which it is saved.
fn data(value: &Dynamic, order: &mut Order) -> Result<Data> {
    if let Some(handle) = value.read_lock::<Handle>() {
        return Ok(Data::Tensor(item(&handle)));
    }
    if let Some(map) = record::read(value) {
        let tensor =
            |name: String| Some((item(&*map.get(name.as_str())?.read_lock::<Handle>()?), name));
        let names = order.keys(map.keys().map(ToString::to_string).collect());
        let tensors: Option<Vec<_>> = names.into_iter().map(tensor).collect();
        if let Some(tensors) = tensors.filter(|tensors| !tensors.is_empty()) {
            return Ok(Data::Tensors(
                tensors.into_iter().map(|(item, name)| (name, item)).collect(),
            ));
        }
    }
    if let Some(rows) = value.read_lock::<Array>() {
        let maps: Option<Vec<_>> = rows.iter().map(record::read).collect();
        if let Some(maps) = maps.filter(|maps| !maps.is_empty()) {
            let row = |map: &Map| {
                map.iter().map(|(key, value)| Ok((key.to_string(), json(value)?))).collect()
            };
            let mut rows: Vec<_> = maps.iter().map(row).collect::<Result<_>>()?;
            rows.iter_mut().for_each(|row| order.map(row));
            return Ok(Data::Rows(rows));
        }
    }
    let mut json = json(value)?;
    order.apply(&mut json);
    Ok(Data::Json(json))
}

/// A tensor and its mask.
fn item(handle: &Handle) -> Item {
    Item { value: handle.value().clone(), mask: handle.mask().map(|mask| mask.value().clone()) }
}

/// A script's value as JSON.
///
/// # Errors
/// The value is not data: a function or a model, say.
pub fn json(value: &Dynamic) -> Result<Json> {
    if value.is_unit() {
        return Ok(Json::Null);
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(Json::Bool(flag));
    }
    if let Ok(int) = value.as_int() {
        return Ok(Json::from(int));
    }
    if let Ok(number) = value.as_float() {
        return Ok(format::json::number(number));
    }
    if let Some(handle) = value.read_lock::<Handle>() {
        return format::json::of_tensor(&handle.value());
    }
    if let Some(array) = value.read_lock::<Array>() {
        return Ok(Json::Array(array.iter().map(json).collect::<Result<_>>()?));
    }
    if let Some(map) = record::read(value) {
        let entries = map.iter().map(|(key, value)| Ok((key.to_string(), json(value)?)));
        return Ok(Json::Object(entries.collect::<Result<_>>()?));
    }
    if let Some(caught) = value.read_lock::<Caught>() {
        return Ok(Json::String(caught.failure().message().to_owned()));
    }
    match value.clone().into_string() {
        Ok(text) => Ok(Json::String(text)),
        Err(_) if value.is_char() => Ok(Json::String(value.to_string())),
        Err(_) => bail!("{} is no data that can be saved", describe(value)),
    }
}

fn save(run: &Run, name: &str, value: &Dynamic, order: &mut Order) -> Result<()> {
    if name.is_empty() || name.ends_with('/') {
        bail!("save needs a name for the file, and {name:?} has none");
    }
    let data = data(value, order).map_err(|e| e.at(format!("save {name:?}")))?;
    let (file, format) = data.file(name);
    if let Some(ending) = extension::foreign_ending(name) {
        let picture = if extension::is_picture(ending) {
            "; plot and heatmap take a name, as in #{name: \"a.png\"}"
        } else {
            ""
        };
        message::notice_once(format_args!(
            "warning: save {name:?}: .{ending} is no format for data, and the file is {file}; formats are {}{picture}",
            extension::formats()
        ));
    }
    run.write(&file, |to| data.write(name, format, to))?;
    Ok(())
}

/// Records a row of the run.
fn record_row(run: &Run, row: &Dynamic, order: &mut Order) -> Result<()> {
    let Some(map) = record::read(row) else {
        bail!("record takes a map, as in record(#{{loss: 0.5}}), not {}", describe(row))
    };
    let cells = map.iter().map(|(name, value)| {
        Ok((name.to_string(), json(value).map_err(|e| e.at(format!("record: {name}")))?))
    });
    let mut row = cells.collect::<Result<serde_json::Map<_, _>>>()?;
    order.map(&mut row);
    run.record_row(&row)
}

/// The rows of a table.
fn rows(value: &Dynamic, options: &Options, order: &mut Order) -> Result<Table> {
    let columns = labels(options.get("columns").as_ref(), "columns")?;
    let of_maps =
        value.read_lock::<Array>().is_some_and(|rows| rows.iter().all(|row| row.is::<Map>()));
    let mut table = match data(value, order)? {
        Data::Rows(rows) => Table::of_rows(&rows),
        Data::Tensor(item) => Table::of_tensor("value", &item.value)?,
        Data::Json(Json::Array(rows)) if !rows.is_empty() && rows.iter().all(Json::is_array) => {
            let rows: Vec<Vec<Json>> =
                rows.into_iter().filter_map(|row| row.as_array().cloned()).collect();
            let widest = rows.iter().map(Vec::len).max().unwrap_or(0);
            let pad = |mut row: Vec<Json>| {
                row.resize(widest, Json::Null);
                row
            };
            Table {
                columns: (0..widest).map(|i| i.to_string()).collect(),
                rows: rows.into_iter().map(pad).collect(),
            }
        }
        _ => {
            bail!(
                "a table is an array of maps, an array of arrays or a tensor [n] or [n, m], not {}",
                describe(value)
            )
        }
    };
    if let Some(columns) = columns {
        let named =
            !table.rows.is_empty() && columns.iter().all(|name| table.columns.contains(name));
        if of_maps && !named && columns.iter().any(|name| table.columns.contains(name)) {
            let unknown = columns
                .iter()
                .find(|name| !table.columns.contains(name))
                .map_or("", String::as_str);
            let error = error!("table: no row has a column {unknown:?}");
            return Err(match did_you_mean(unknown, table.columns.iter().map(String::as_str)) {
                Some(help) => error.help(help),
                None => error,
            });
        }
        if named {
            let order: Vec<usize> = columns
                .iter()
                .filter_map(|name| table.columns.iter().position(|known| known == name))
                .collect();
            table.rows = table
                .rows
                .iter()
                .map(|row| order.iter().map(|&i| row[i].clone()).collect())
                .collect();
        } else if columns.len() != table.columns.len() {
            bail!(
                "table: {} columns are named, and the rows have {}",
                columns.len(),
                table.columns.len()
            );
        }
        table.columns = columns;
    }
    Ok(table)
}

fn draw_table(run: &Run, value: &Dynamic, options: Map, order: &mut Order) -> Result<String> {
    let options = Options::new("table", options, &["columns"])?;
    let shown = rows(value, &options, order)?;
    let short = |json: &Json| match json.as_f64().filter(|_| json.is_f64()) {
        Some(number) => picture::number(number),
        None => cell(json),
    };
    let cells: Vec<Vec<String>> =
        shown.rows.iter().map(|row| row.iter().map(short).collect()).collect();
    let drawn = table::draw(&shown.columns, &cells, terminal_width());
    run.show(items::Item::Table(shown))?;
    Ok(drawn)
}

/// A progress bar on standard error, shown only on a terminal.
#[derive(Clone)]
struct Progress {
    label: String,
    bar: ProgressBar,
}

fn new_progress(label: &str, n: i64) -> Result<Progress> {
    let n = u64::try_from(n)
        .map_err(|_| error!("progress counts up to a number of at least 0, not {n}"))?;
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    progress::tell(label, 0, n);
    let message = escape::control_characters(label).into_owned();
    Ok(Progress {
        label: label.to_owned(),
        bar: ProgressBar::new(n).with_style(style).with_message(message),
    })
}

impl Progress {
    fn advance(&self, by: u64) {
        self.bar.inc(by);
        let (done, of) = (self.bar.position(), self.bar.length().unwrap_or_default());
        progress::tell(&self.label, done, of);
        if done >= of {
            self.bar.finish_and_clear();
        }
    }
}

/// Registers what saves, loads and shows values.
pub fn install(registry: &mut Registry, run: &Rc<Run>, console: &Console, sources: &Sources) {
    let (own, scripts) = (run.clone(), sources.clone());
    registry
        .declare(
            "save(name, value)",
            Purity::Impure("writes a file"),
            OnGpu::FETCHED,
            Gradient::Outside,
        )
        .row(
            "writes (name, value) into the run's directory: .safetensors .npy .npz .csv .parquet \
            .json .jsonl .txt; keys of maps stand in the order in which they were written. \
            In a .csv, a text that a spreadsheet would run as a formula (=, +, -, @, a tab \
            or a line's end at its start, and it is no number) has a ' before it",
            r#"save("numbers", #{a: tensor([1.0])})"#,
            "",
        )
        .function(move |call: NativeCallContext, name: &str, value: Dynamic| -> ScriptResult<()> {
            Ok(save(&own, name, &value, &mut Order::of(&call, &scripts))?)
        });
    let (own, scripts) = (run.clone(), sources.clone());
    registry
        .declare("record(row)", Purity::Impure("writes a file"), OnGpu::FETCHED, Gradient::Outside)
        .row(
            "adds a row, a map, to what the run has to say for itself: records.jsonl in its directory, \
            and in a sweep a row of sweep.parquet beside the parameters",
            "record(#{layer: 3, loss: 0.25})",
            "",
        )
        .function(move |call: NativeCallContext, row: Dynamic| -> ScriptResult<()> {
            Ok(record_row(&own, &row, &mut Order::of(&call, &scripts))?)
        });
    let (own, out, scripts) = (run.clone(), console.clone(), sources.clone());
    let draw = move |call: &NativeCallContext, rows: &Dynamic, options: Map| -> ScriptResult<()> {
        out.line(&draw_table(&own, rows, options, &mut Order::of(call, &scripts))?);
        Ok(())
    };
    let with_options = draw.clone();
    registry
        .declare(
            "table(rows, options)",
            Purity::Impure("prints"),
            OnGpu::FETCHED,
            Gradient::Outside,
        )
        .row(
            "draws rows: an array of maps or arrays, or a tensor [n] or [n, m]; columns in \
            the order in which they were written, or as #{columns} names them",
            r#"table([#{token: "a", p: 0.5}])"#,
            "",
        )
        .function(move |call: NativeCallContext, rows: Dynamic| draw(&call, &rows, Map::new()))
        .function(move |call: NativeCallContext, rows: Dynamic, options: Map| {
            with_options(&call, &rows, options)
        });
}

/// Registers `to_json`.
pub fn install_json(registry: &mut Registry) {
    // Rhai's own has no end where a value holds itself, and says nothing of tensors.
    registry
        .declare("to_json(map)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Outside)
        .row(
            "the map as JSON, a tensor as nested lists; a function is an error",
            "#{a: tensor([1, 2])}.to_json()",
            r#"{"a":[1,2]}"#,
        )
        .function(|map: &mut Map| -> ScriptResult<String> {
            let entries = map.iter().map(|(key, value)| Ok((key.to_string(), json(value)?)));
            let object = entries.collect::<Result<_>>().map_err(|error| error.at("to_json"))?;
            Ok(Json::Object(object).to_string())
        });
}

/// Registers `progress`.
pub fn install_progress(registry: &mut Registry) {
    registry.type_name::<Progress>("progress");
    registry
        .declare(
            "progress(label, n)",
            Purity::Impure("prints"),
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "how far some work has come: (label, n), then .tick()",
            r#"let p = progress("layers", 4); for i in 0..4 { p.tick(); }"#,
            "",
        )
        .function(|label: &str, n: i64| -> ScriptResult<Progress> { Ok(new_progress(label, n)?) });
    registry
        .declare(
            "tick(progress, by)",
            Purity::Impure("prints"),
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "of progress: a step further, or several",
            r#"let p = progress("layers", 3); p.tick(); p.tick(2);"#,
            "",
        )
        .function(|progress: &mut Progress| progress.advance(1))
        .function(|progress: &mut Progress, by: i64| progress.advance(by.max(0).unsigned_abs()));
}
