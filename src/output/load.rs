//! Reading tensors back: from files beside the script, and below the directories that the command line names.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;

use super::npy;
use super::save::{TOKEN_IDS, mask_name};
use crate::file::{self, Kind, in_words};
use crate::folder::{Folder, leads_out};
use crate::tensor::{Complex, Value, budget, dims};
use crate::{Error, Result, bail, error};

/// What a file held.
pub enum Loaded {
    One(Value),
    /// Tensors by name, and which of them are token ids; the mask of padded ones is a tensor too.
    Named(BTreeMap<String, Value>, Vec<String>),
}

/// The directories that a script may read below: its own, and those of `--read`. They are held open.
#[derive(Debug, Clone, Default)]
pub struct Readable(Vec<Root>);

#[derive(Debug, Clone)]
struct Root {
    folder: Folder,
    /// Where it was when it was opened, for links and absolute paths that lead there.
    canonical: PathBuf,
}

impl Readable {
    pub fn new(folders: impl IntoIterator<Item = Folder>) -> Self {
        let root = |folder: Folder| Some(Root { canonical: std::fs::canonicalize(folder.path()).ok()?, folder });
        Self(folders.into_iter().filter_map(root).collect())
    }

    /// Opens a file by a path relative to one of the directories, or an absolute one below them.
    ///
    /// # Errors
    /// There is no such file, or it is elsewhere: links and `..` are followed before it is decided.
    pub fn open(&self, path: &str) -> Result<File> {
        if path.contains('\0') {
            bail!("{path:?} is no path");
        }
        let mut elsewhere = Path::new(path).is_absolute();
        for root in &self.0 {
            let cause = match root.folder.file(Path::new(path), Kind::Data) {
                Ok(file) => return Ok(file),
                Err(cause) => cause,
            };
            if leads_out(&cause) {
                // Into another of them, perhaps.
                let Ok(found) = std::fs::canonicalize(root.canonical.join(path)) else { continue };
                let below =
                    |root: &Root| Some((root.folder.clone(), found.strip_prefix(&root.canonical).ok()?.to_owned()));
                match self.0.iter().find_map(below).map(|(folder, inside)| folder.file(&inside, Kind::Data)) {
                    Some(Ok(file)) => return Ok(file),
                    Some(Err(cause)) if !leads_out(&cause) => return Err(refused(path, &cause)),
                    _ => elsewhere = true,
                }
            } else if !is_missing(&cause) {
                return Err(refused(path, &cause));
            }
        }
        if elsewhere {
            return Err(error!("{path:?} is outside what this script may read")
                .help("a script reads beside itself; --read DIR lets it read below DIR too"));
        }
        Err(error!("there is no file {path:?} beside the script").help("--read DIR lets it read below DIR too"))
    }
}

/// A link that leads to itself leads nowhere.
fn is_missing(cause: &std::io::Error) -> bool {
    #[cfg(unix)]
    if cause.raw_os_error() == Some(libc::ELOOP) {
        return true;
    }
    matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename)
}

fn refused(path: &str, cause: &std::io::Error) -> Error {
    match cause.kind() {
        ErrorKind::IsADirectory | ErrorKind::InvalidInput => error!("{path:?} is no file"),
        _ => error!("{path:?} can't be read: {}", in_words(cause)),
    }
}

/// # Errors
/// A file that is neither .safetensors nor .npy, or is broken.
pub fn load(file: &File, name: &str) -> Result<Loaded> {
    let read = || {
        let cannot = |e: std::io::Error| error!("{name} can't be read: {}", in_words(&e));
        let size = file.metadata().map_err(cannot)?.len();
        // It stands in memory beside the tensors that are made of it.
        budget::check_bytes(size).map_err(|error| error.at(name))?;
        file::read_open(file, Kind::Data).map_err(cannot)
    };
    match Path::new(name).extension().and_then(|ending| ending.to_str()) {
        Some("safetensors") => {
            let bytes = read()?;
            let named = safetensors(&bytes).and_then(|tensors| Ok((token_ids(&bytes, &tensors)?, tensors)));
            let (ids, tensors) = named.map_err(|e| e.at(name))?;
            Ok(Loaded::Named(tensors, ids))
        }
        Some("npy") => Ok(Loaded::One(npy::read(&read()?).map_err(|e| e.at(name))?)),
        _ => Err(error!("{name} is neither .safetensors nor .npy")),
    }
}

/// The tensors that the file's metadata says are token ids.
///
/// # Errors
/// Metadata that says so of what can't be, or a mask that does not fit.
fn token_ids(bytes: &[u8], tensors: &BTreeMap<String, Value>) -> Result<Vec<String>> {
    let broken = |what: String| error!("it is broken: its metadata has {TOKEN_IDS}, {what}");
    let metadata = safetensors::SafeTensors::read_metadata(bytes).map_err(|e| broken(e.to_string()))?.1;
    let Some(names) = metadata.metadata().as_ref().and_then(|metadata| metadata.get(TOKEN_IDS)) else {
        return Ok(Vec::new());
    };
    let names: Vec<String> = serde_json::from_str(names).map_err(|_| broken("which is no array of names".into()))?;
    for name in &names {
        let is_integer = |value: &&Value| {
            value.real(name).is_ok_and(|tensor| tensor.dtype().is_int()) && !matches!(value, Value::Bool(_))
        };
        let Some(ids) = tensors.get(name).filter(is_integer) else {
            return Err(broken(format!("and {name:?} is no tensor of integers")));
        };
        match tensors.get(&mask_name(name)) {
            Some(mask) if !matches!(mask, Value::Bool(_)) || mask.dims() != ids.dims() => {
                return Err(broken(format!("and the mask of {name:?} is none")));
            }
            _ => {}
        }
    }
    Ok(names)
}

fn safetensors(bytes: &[u8]) -> Result<BTreeMap<String, Value>> {
    let file = safetensors::SafeTensors::deserialize(bytes)
        .map_err(|e| error!("it is broken, or no .safetensors file ({e})"))?;
    file.iter()
        .map(|(name, view)| {
            let raw = |dtype: DType, shape: &[usize]| Tensor::from_raw_buffer(view.data(), dtype, shape, &Device::Cpu);
            let shape = view.shape();
            dims::check_size(shape).map_err(|e| e.at(name))?;
            let value = match view.dtype() {
                Dtype::BOOL => Value::Bool(raw(DType::U8, shape)?),
                Dtype::U8 => Value::Real(raw(DType::U8, shape)?),
                Dtype::U32 => Value::Real(raw(DType::U32, shape)?),
                Dtype::I16 => Value::Real(raw(DType::I16, shape)?.to_dtype(DType::I64)?),
                Dtype::I32 => Value::Real(raw(DType::I32, shape)?.to_dtype(DType::I64)?),
                Dtype::I64 => Value::Real(raw(DType::I64, shape)?),
                Dtype::F16 => Value::Real(raw(DType::F16, shape)?),
                Dtype::BF16 => Value::Real(raw(DType::BF16, shape)?),
                Dtype::F32 => Value::Real(raw(DType::F32, shape)?),
                Dtype::F64 => Value::Real(raw(DType::F64, shape)?),
                Dtype::C64 => {
                    let pairs = raw(DType::F32, &[shape, &[2]].concat())?;
                    let part = |at: usize| pairs.narrow(shape.len(), at, 1)?.squeeze(shape.len())?.contiguous();
                    Value::Complex(Complex { re: part(0)?, im: part(1)? })
                }
                other => bail!("{name} is {other:?}, which tensors can't be"),
            };
            Ok((name.to_owned(), value))
        })
        .collect()
}
