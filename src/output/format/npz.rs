//! NumPy's .npz: a zip of one .npy for each tensor (`numpy.savez`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read, Seek, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::npy;
use super::safetensors::Item;
use crate::system::escape::control_characters;
use crate::system::write::write_all;
use crate::tensor::{Value, budget};
use crate::{Result, bail, error};

/// The most tensors that are read of one file.
const MAX_TENSORS: usize = 100_000;

/// What the name of a tensor's entry ends with.
const ENDING: &str = ".npy";

/// Writes tensors by name, uncompressed as `numpy.savez` does.
///
/// # Errors
/// A dtype that NumPy does not have, token ids with padding, or `to` can't be written to.
pub fn write(items: &[(&str, &Item)], to: &mut dyn Write) -> Result<()> {
    let failed = |e: zip::result::ZipError| error!("the tensors can't be written as .npz: {e}");
    let mut bytes = Cursor::new(Vec::new());
    let mut zip = ZipWriter::new(&mut bytes);
    for (name, item) in items {
        if item.is_padded()? {
            return Err(error!("{name} has token ids with padding, whose mask .npz would lose")
                .help("save them as .safetensors, or as plain integers: tensor(ids.to_array())"));
        }
        let mut tensor = Vec::new();
        npy::write(&item.value, &mut tensor).map_err(|e| e.at(name))?;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(u32::try_from(tensor.len()).is_err());
        zip.start_file(format!("{name}{ENDING}"), options).map_err(failed)?;
        write_all(&mut zip, &tensor)?;
    }
    zip.finish().map_err(failed)?;
    write_all(to, bytes.get_ref())
}

/// Reads all tensors by name.
///
/// # Errors
/// A broken file, a tensor that can't be held, or more than the memory limit allows.
pub fn read(file: &File) -> Result<BTreeMap<String, Value>> {
    let broken = |e: zip::result::ZipError| error!("its zip can't be read ({e})");
    let mut file = file.try_clone().map_err(|e| error!("it can't be read: {e}"))?;
    file.rewind().map_err(|e| error!("it can't be read: {e}"))?;
    let mut zip = ZipArchive::new(std::io::BufReader::new(file)).map_err(broken)?;
    if zip.len() > MAX_TENSORS {
        bail!("it has {} entries, and at most {MAX_TENSORS} are read", zip.len());
    }
    let mut tensors = BTreeMap::new();
    for at in 0..zip.len() {
        let entry = zip.by_index(at).map_err(broken)?;
        let name = entry.name().map_err(broken)?.into_owned();
        let shown = || control_characters(&name).into_owned();
        let Some(tensor) = name.strip_suffix(ENDING) else {
            bail!("it has {}, which is no {ENDING}", shown())
        };
        // What is announced is checked before it is read, and no more is read than that.
        let size = entry.size();
        budget::check_bytes(size).map_err(|e| e.at(shown()))?;
        let mut bytes = Vec::new();
        let read = entry.take(size).read_to_end(&mut bytes);
        read.map_err(|e| error!("{} can't be read: {e}", shown()))?;
        tensors.insert(tensor.to_owned(), npy::read(&bytes).map_err(|e| e.at(shown()))?);
    }
    Ok(tensors)
}
