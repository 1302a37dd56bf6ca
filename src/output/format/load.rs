//! Reading tensors back: from files beside the script, and below the directories that the command
//! line names.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;

use super::npy;
use super::save::{TOKEN_IDS, mask_name};
use crate::checkpoint::safetensors_header::Header;
use crate::system::directory::{HeldDirectory, escapes_directory};
use crate::system::file::{FileKind, describe_io_error};
use crate::system::{file, message};
use crate::tensor::{Complex, Kind, Value, budget, dims, dtype};
use crate::{Error, Result, bail, error};

/// What a file held.
pub enum Loaded {
    One(Value),
    /// Tensors by name, and which of them are token ids; the mask of padded ones is a tensor too.
    Named(BTreeMap<String, Value>, Vec<String>),
}

/// The directories that a script may read below: its own, and those of `--read`. They are held
/// open.
#[derive(Debug, Clone, Default)]
pub struct Readable(Vec<Root>);

#[derive(Debug, Clone)]
struct Root {
    folder: HeldDirectory,
    /// Where it was when it was opened, for links and absolute paths that lead there.
    canonical: PathBuf,
}

impl Readable {
    pub fn new(folders: impl IntoIterator<Item = HeldDirectory>) -> Self {
        let root = |folder: HeldDirectory| {
            Some(Root { canonical: std::fs::canonicalize(folder.path()).ok()?, folder })
        };
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
            let cause = match root.folder.file(Path::new(path), FileKind::Data) {
                Ok(file) => return Ok(file),
                Err(cause) => cause,
            };
            if escapes_directory(&cause) {
                // Into another of them, perhaps.
                let Ok(found) = std::fs::canonicalize(root.canonical.join(path)) else { continue };
                let below = |root: &Root| {
                    Some((
                        root.folder.clone(),
                        found.strip_prefix(&root.canonical).ok()?.to_owned(),
                    ))
                };
                match self
                    .0
                    .iter()
                    .find_map(below)
                    .map(|(folder, inside)| folder.file(&inside, FileKind::Data))
                {
                    Some(Ok(file)) => return Ok(file),
                    Some(Err(cause)) if !escapes_directory(&cause) => {
                        return Err(refused(path, &cause));
                    }
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
        Err(error!("there is no file {path:?} beside the script")
            .help("--read DIR lets it read below DIR too"))
    }
}

/// A link that leads to itself leads nowhere.
fn is_missing(cause: &std::io::Error) -> bool {
    #[cfg(unix)]
    if cause.raw_os_error() == Some(libc::ELOOP) {
        return true;
    }
    matches!(
        cause.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename
    )
}

fn refused(path: &str, cause: &std::io::Error) -> Error {
    match cause.kind() {
        ErrorKind::IsADirectory | ErrorKind::InvalidInput => error!("{path:?} is no file"),
        _ => error!("{path:?} can't be read: {}", describe_io_error(cause)),
    }
}

/// # Errors
/// A file that is neither .safetensors nor .npy, or is broken.
pub fn load(file: &File, name: &str) -> Result<Loaded> {
    let read = || {
        let cannot = |e: std::io::Error| error!("{name} can't be read: {}", describe_io_error(&e));
        let size = file.metadata().map_err(cannot)?.len();
        // It stands in memory beside the tensors that are made of it.
        budget::check_bytes(size).map_err(|error| error.at(name))?;
        file::read_open(file, FileKind::Data).map_err(cannot)
    };
    match Path::new(name).extension().and_then(|ending| ending.to_str()) {
        Some("safetensors") => {
            let (tensors, ids) = safetensors(&read()?, name).map_err(|e| e.at(name))?;
            Ok(Loaded::Named(tensors, ids))
        }
        Some("npy") => Ok(Loaded::One(npy::read(&read()?).map_err(|e| e.at(name))?)),
        _ => Err(error!("{name} is neither .safetensors nor .npy")),
    }
}

/// The tensors, and which of them are token ids. Those of a dtype that tensors don't have are left
/// out, with a warning.
///
/// # Errors
/// A broken file, or one of such tensors alone.
fn safetensors(bytes: &[u8], file: &str) -> Result<(BTreeMap<String, Value>, Vec<String>)> {
    let header =
        Header::read(bytes).map_err(|e| error!("it is broken, or no .safetensors file ({e})"))?;
    let (mut tensors, mut strange) = (BTreeMap::new(), Vec::new());
    for name in header.names() {
        let shape = header.shape(&name).unwrap_or_default();
        let (dtype, data) = match header.find(&name) {
            Some(Ok((dtype, place))) => (dtype, bytes.get(place).unwrap_or_default()),
            Some(Err(unknown)) => {
                strange.push(format!("{name} ({unknown})"));
                continue;
            }
            None => continue,
        };
        match value(dtype, &shape, data).map_err(|e| e.at(&name))? {
            Some(value) => drop(tensors.insert(name, value)),
            None => strange.push(format!("{name} ({dtype:?})")),
        }
    }
    let strange = match strange.as_slice() {
        [] => return token_ids(&header, &tensors).map(|ids| (tensors, ids)),
        [one] => format!("{one} is of a dtype that tensors don't have"),
        some => format!("{} are of dtypes that tensors don't have", some.join(", ")),
    };
    if tensors.is_empty() {
        bail!("{strange}");
    }
    message::notice_once(format_args!("warning: {file}: {strange}; the other tensors are loaded"));
    token_ids(&header, &tensors).map(|ids| (tensors, ids))
}

/// A tensor of its bytes, little-endian; nothing where no tensor is of such a dtype.
fn value(dtype: Dtype, shape: &[usize], data: &[u8]) -> Result<Option<Value>> {
    dims::check_size(shape)?;
    let raw =
        |dtype: DType, shape: &[usize]| Tensor::from_raw_buffer(data, dtype, shape, &Device::Cpu);
    let real = |dtype: DType| Ok(Some(Value::Real(raw(dtype, shape)?)));
    let whole =
        |numbers: Vec<i64>| Ok(Some(Value::Real(Tensor::from_vec(numbers, shape, &Device::Cpu)?)));
    match dtype {
        // Whatever is not 0 is true.
        Dtype::BOOL => Ok(Some(dtype::cast(&Value::Real(raw(DType::U8, shape)?), Kind::Bool)?)),
        Dtype::I8 => whole(data.iter().map(|byte| i64::from(byte.cast_signed())).collect()),
        Dtype::U16 => whole(
            data.chunks_exact(2)
                .map(|pair| i64::from(u16::from_le_bytes([pair[0], pair[1]])))
                .collect(),
        ),
        Dtype::I16 => Ok(Some(Value::Real(raw(DType::I16, shape)?.to_dtype(DType::I64)?))),
        Dtype::I32 => Ok(Some(Value::Real(raw(DType::I32, shape)?.to_dtype(DType::I64)?))),
        Dtype::U8 => real(DType::U8),
        Dtype::U32 => real(DType::U32),
        Dtype::I64 => real(DType::I64),
        Dtype::F16 => real(DType::F16),
        Dtype::BF16 => real(DType::BF16),
        Dtype::F32 => real(DType::F32),
        Dtype::F64 => real(DType::F64),
        Dtype::C64 => {
            let pairs = raw(DType::F32, &[shape, &[2]].concat())?;
            let part =
                |at: usize| pairs.narrow(shape.len(), at, 1)?.squeeze(shape.len())?.contiguous();
            Ok(Some(Value::Complex(Complex { re: part(0)?, im: part(1)? })))
        }
        _ => Ok(None),
    }
}

/// The tensors that the file's metadata says are token ids.
///
/// # Errors
/// Metadata that says so of what can't be, or a mask that does not fit.
fn token_ids(header: &Header, tensors: &BTreeMap<String, Value>) -> Result<Vec<String>> {
    let broken = |what: String| error!("it is broken: its metadata has {TOKEN_IDS}, {what}");
    let Some(names) = header.metadata(TOKEN_IDS) else { return Ok(Vec::new()) };
    let names: Vec<String> =
        serde_json::from_str(names).map_err(|_| broken("which is no array of names".into()))?;
    for name in &names {
        let is_integer = |value: &&Value| {
            value.real(name).is_ok_and(|tensor| tensor.dtype().is_int())
                && !matches!(value, Value::Bool(_))
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
