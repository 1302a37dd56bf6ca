//! Reading tensors from the files that people keep them in.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use candle_core::DType;

use super::format::{npy, npz, safetensors};
use crate::checkpoint::{Bytes, Pickle, shard_names};
use crate::system::file;
use crate::system::file::{FileKind, describe_io_error};
use crate::system::message::notice_once;
use crate::tensor::{Kind, Value, budget, dtype};
use crate::{Error, Result, bail, error};

/// The tensors of a file.
pub enum Loaded {
    /// The tensor of a .npy file, or the only one of a file of PyTorch.
    One(Value),
    /// The tensors of any other file by name, and the names of those that are token ids. The mask
    /// of padded token ids is among the tensors, under
    /// [`mask_name`](super::format::safetensors::mask_name).
    Named(BTreeMap<String, Value>, Vec<String>),
}

/// What the name of an index of several files ends with.
const INDEX: &str = ".index.json";

/// Reads all tensors of a file, whose format is chosen by the extension of `name`. An index names
/// files beside it, which `beside` opens.
///
/// # Errors
/// Another extension, a broken file, or one that is larger than the memory that a run may use.
pub fn load(file: &File, name: &str, beside: &dyn Fn(&str) -> Result<File>) -> Result<Loaded> {
    if name.ends_with(INDEX) {
        return load_index(file, name, beside);
    }
    match Path::new(name).extension().and_then(|ending| ending.to_str()) {
        Some("safetensors") => {
            let (tensors, ids) =
                safetensors::read(&contents(file, name)?, name).map_err(|e| e.at(name))?;
            Ok(Loaded::Named(tensors, ids))
        }
        Some("npy") => Ok(Loaded::One(npy::read(&contents(file, name)?).map_err(|e| e.at(name))?)),
        Some("npz") => Ok(Loaded::Named(npz::read(file).map_err(|e| e.at(name))?, Vec::new())),
        Some("pt" | "pth" | "bin") => load_pickle(file, name),
        _ => Err(error!("{name} is in no format that tensors are read from").help(format!(
            "they are .safetensors .npy .npz .pt .pth .bin, and {INDEX} of several"
        ))),
    }
}

fn contents(file: &File, name: &str) -> Result<Vec<u8>> {
    let size = file.metadata().map_err(|e| unread(name, &e))?.len();
    // The file's bytes are held in memory beside the tensors made from them.
    budget::check_bytes(size).map_err(|error| error.at(name))?;
    file::read_open(file, FileKind::Data).map_err(|e| unread(name, &e))
}

fn unread(name: &str, cause: &std::io::Error) -> Error {
    error!("{name} can't be read: {}", describe_io_error(cause))
}

/// The tensors of a file of PyTorch, in the dtypes that they are stored in.
fn load_pickle(file: &File, name: &str) -> Result<Loaded> {
    let pickle = Pickle::open_nested(Bytes::map(file).map_err(|e| unread(name, &e))?, name)?;
    let unreadable: BTreeMap<String, String> =
        pickle.unreadable().map(|(name, why)| (name.to_owned(), why)).collect();
    let mut tensors = BTreeMap::new();
    let mut names = pickle.names();
    names.retain(|name| !unreadable.contains_key(name));
    for tensor in names {
        let stored = pickle.stored(&tensor).unwrap_or(DType::F32);
        let size = pickle.shape(&tensor).map_or(0, |shape| shape.iter().product::<usize>());
        budget::check_bytes((size * stored.size_in_bytes()) as u64).map_err(|e| e.at(name))?;
        // Scripts have one type of signed integers.
        let held = if matches!(stored, DType::I16 | DType::I32) { DType::I64 } else { stored };
        let value = Value::Real(pickle.load(&tensor, held)?);
        let value = if pickle.is_bool(&tensor) { dtype::cast(&value, Kind::Bool)? } else { value };
        tensors.insert(tensor, value);
    }
    if let Some((lost, why)) = unreadable.first_key_value() {
        if tensors.is_empty() {
            bail!("{name}: {lost:?} can't be read: {why}");
        }
        let more = unreadable.len() - 1;
        let more = if more == 0 { String::new() } else { format!(", and {more} others") };
        notice_once(format_args!(
            "warning: {name}: {lost:?} can't be read ({why}){more}; the other tensors are loaded"
        ));
    }
    match tensors.remove("") {
        Some(one) if tensors.is_empty() => Ok(Loaded::One(one)),
        _ if tensors.is_empty() => bail!("{name} has no tensors"),
        _ => Ok(Loaded::Named(tensors, Vec::new())),
    }
}

/// The tensors of all files that an index names.
fn load_index(file: &File, name: &str, beside: &dyn Fn(&str) -> Result<File>) -> Result<Loaded> {
    let bytes = file::read_open(file, FileKind::Tokenizer).map_err(|e| unread(name, &e))?;
    let index = serde_json::from_slice(&bytes)
        .map_err(|_| error!("{name} is no index of files of tensors: it is not a map in JSON"))?;
    let (mut all, mut all_ids) = (BTreeMap::new(), Vec::new());
    for shard in shard_names(&index, name)? {
        if shard.ends_with(INDEX) {
            bail!("{name} names another index, {shard}");
        }
        let opened = beside(&shard).map_err(|e| e.at(name))?;
        match load(&opened, &shard, beside)? {
            Loaded::Named(tensors, ids) => {
                all.extend(tensors);
                all_ids.extend(ids);
            }
            Loaded::One(_) => bail!("{name} names {shard}, which has a tensor without a name"),
        }
    }
    Ok(Loaded::Named(all, all_ids))
}
