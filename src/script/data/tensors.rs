//! `load_tensors(path)`: the tensors of a file.

use std::rc::Rc;

use rhai::{Dynamic, Map};

use super::files::DataFiles;
use crate::Result;
use crate::data::hub_reference::HUB;
use crate::output::format::safetensors::mask_name;
use crate::output::load;
use crate::output::load::Loaded;
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::value::Handle;
use crate::script::value::record::Record;
use crate::tensor::Value;

fn load_tensors(files: &DataFiles, path: &str) -> Result<Dynamic> {
    let (place, revision) = match path.split_once('@') {
        Some((place, revision)) if path.starts_with(HUB) => (place, format!("@{revision}")),
        _ => (path, String::new()),
    };
    let folder = place.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let beside = |name: &str| files.open(&format!("{folder}{name}{revision}"));
    match load::load(&files.open(path)?, place, &beside)? {
        Loaded::One(value) => Ok(Dynamic::from(Handle::fresh(value))),
        Loaded::Named(mut values, ids) => {
            let mut map = Map::new();
            for name in ids {
                let Some(value) = values.remove(&name) else { continue };
                let ids = match values.remove(&mask_name(&name)) {
                    Some(mask) => Handle::fresh(value).with_mask(Handle::fresh(mask)),
                    None => Handle::fresh(value).all_real()?,
                };
                map.insert(name.into(), Dynamic::from(ids));
            }
            let entry =
                |(name, value): (String, Value)| (name.into(), Dynamic::from(Handle::fresh(value)));
            map.extend(values.into_iter().map(entry));
            Ok(Dynamic::from(Record::from(map)))
        }
    }
}

/// Registers `load_tensors`.
pub fn install(registry: &mut Registry, files: &Rc<DataFiles>) {
    let own = files.clone();
    registry
        .declare(
            "load_tensors(path)",
            Purity::Impure("reads a file"),
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "the tensors of a file beside the script, below a --read directory or of the Hub \
            (hf:owner/repo/path): a map of .safetensors (token ids with their mask), of .npz and \
            of an .index.json of several files; one of .npy; of PyTorch's .pt .pth .bin, which are \
            parsed and never executed, a map or the one that it holds",
            "let said = \"\"; try { load_tensors(\"none.npy\"); } catch { said = \"no such \
            file\"; } said",
            "no such file",
        )
        .function(move |path: &str| -> ScriptResult<Dynamic> { Ok(load_tensors(&own, path)?) });
}
