//! Reading tensors back from .safetensors and .npy files.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use super::format::{npy, safetensors};
use crate::system::file;
use crate::system::file::{FileKind, describe_io_error};
use crate::tensor::{Value, budget};
use crate::{Result, error};

/// The tensors of a file.
pub enum Loaded {
    /// The tensor of a .npy file.
    One(Value),
    /// The tensors of a .safetensors file by name, and the names of those that are token ids. The
    /// mask of padded token ids is among the tensors, under
    /// [`mask_name`](super::format::safetensors::mask_name).
    Named(BTreeMap<String, Value>, Vec<String>),
}

/// Reads all tensors of a file, whose format is chosen by the extension of `name`.
///
/// # Errors
/// Another extension, a broken file, or one that is larger than the memory that a run may use.
pub fn load(file: &File, name: &str) -> Result<Loaded> {
    let read = || {
        let cannot = |e: std::io::Error| error!("{name} can't be read: {}", describe_io_error(&e));
        let size = file.metadata().map_err(cannot)?.len();
        // The file's bytes are held in memory beside the tensors made from them.
        budget::check_bytes(size).map_err(|error| error.at(name))?;
        file::read_open(file, FileKind::Data).map_err(cannot)
    };
    match Path::new(name).extension().and_then(|ending| ending.to_str()) {
        Some("safetensors") => {
            let (tensors, ids) = safetensors::read(&read()?, name).map_err(|e| e.at(name))?;
            Ok(Loaded::Named(tensors, ids))
        }
        Some("npy") => Ok(Loaded::One(npy::read(&read()?).map_err(|e| e.at(name))?)),
        _ => Err(error!("{name} is neither .safetensors nor .npy")),
    }
}
