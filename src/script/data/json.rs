//! `load_json(path)`: the value of a JSON file, such as a config.

use std::rc::Rc;

use rhai::{Array, Dynamic, Map};
use serde_json::Value as Json;

use super::files::DataFiles;
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::value::record::Record;
use crate::system::file::{FileKind, check, describe_io_error, read_open};
use crate::{Result, bail, error};

/// A value of JSON as scripts have it, its maps as Rhai's own.
///
/// # Errors
/// A number is larger than a script's integers.
pub fn dynamic(json: Json) -> Result<Dynamic> {
    Ok(match json {
        Json::Null => Dynamic::UNIT,
        Json::Bool(flag) => flag.into(),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => int.into(),
            (None, Some(float)) if number.is_f64() => float.into(),
            _ => bail!("{number} is larger than a script's integers"),
        },
        Json::String(text) => text.into(),
        Json::Array(items) => items.into_iter().map(dynamic).collect::<Result<Array>>()?.into(),
        Json::Object(map) => {
            let entry = |(key, json): (String, Json)| Ok((key.into(), dynamic(json)?));
            map.into_iter().map(entry).collect::<Result<Map>>()?.into()
        }
    })
}

fn load_json(files: &DataFiles, path: &str) -> Result<Dynamic> {
    let file = files.open(path)?;
    let unread = |cause| error!("{path} can't be read: {}", describe_io_error(&cause));
    check(&file.metadata().map_err(unread)?, FileKind::Config).map_err(unread)?;
    let bytes = read_open(&file, FileKind::Config).map_err(unread)?;
    let json =
        serde_json::from_slice(&bytes).map_err(|cause| error!("{path} is no JSON: {cause}"))?;
    Ok(Record::within(dynamic(json).map_err(|e| e.at(path))?))
}

/// Registers `load_json`.
pub fn install(registry: &mut Registry, files: &Rc<DataFiles>) {
    let own = files.clone();
    registry
        .declare(
            "load_json(path)",
            Purity::Impure("reads a file"),
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "what a .json file of at most 16 MiB holds, beside the script, below a --read directory \
            or of the Hub (hf:owner/repo/path): maps, arrays, texts, numbers, bools, and () for null",
            "let said = \"\"; try { load_json(\"none.json\"); } catch (e) { said = e; } said",
            "there is no file \"none.json\" beside the script",
        )
        .function(move |path: &str| -> ScriptResult<Dynamic> { Ok(load_json(&own, path)?) });
}
