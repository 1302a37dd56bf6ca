//! A file of `torch.save`, such as pytorch_model.bin: a zip of a pickle, which is parsed and never executed, and of the
//! storages that the tensors are views of. Before PyTorch 1.6 it was no zip.

mod legacy;
mod machine;
mod object;
mod state_dict;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use candle_core::{DType, Tensor};
use machine::Objects;
use state_dict::{StateDict, View};
use zip::{CompressionMethod, ZipArchive};

use super::decode::decode;
use super::files::Bytes;
use crate::system::escape::control_characters;
use crate::system::file::FileKind;
use crate::tensor::budget;
use crate::{Error, Result, bail, error};

/// What makes tensors by name of a pickle.
type StateOf = fn(&Objects) -> Result<StateDict>;

/// A PyTorch checkpoint file.
pub struct Pickle {
    /// The file's name, for messages.
    name: String,
    bytes: Bytes,
    state: StateDict,
    /// The place of each storage of `state`, or why it can't be read.
    places: Vec<Result<ByteRange>>,
}

/// The first byte of an entry's contents in the file, and how many bytes they are.
type ByteRange = (usize, usize);

impl Pickle {
    /// Reads the names and shapes of a file called `name`.
    ///
    /// # Errors
    /// The file is none that PyTorch writes, its pickle holds something other than tensors by name,
    /// or its tensors would take far more memory than the file has bytes.
    pub fn open(bytes: Bytes, name: &str) -> Result<Self> {
        Self::open_as(bytes, name, StateDict::of)
    }

    /// As [`open`](Self::open), of a file that may also hold one tensor, or maps and lists of
    /// tensors within each other.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_nested(bytes: Bytes, name: &str) -> Result<Self> {
        Self::open_as(bytes, name, StateDict::of_nested)
    }

    fn open_as(bytes: Bytes, name: &str, of: StateOf) -> Result<Self> {
        let start = bytes.get();
        if start.starts_with(b"version https://git-lfs") {
            return Err(error!("{name} is a Git LFS pointer, not the weights")
                .help("fetch them with git lfs pull"));
        }
        let contents = match () {
            () if start.starts_with(b"PK\x03\x04") => Self::contents,
            () if legacy::is_legacy(start) => legacy::contents,
            () => {
                return Err(error!("{name} is no file that PyTorch's save writes")
                    .help("load it with PyTorch and save it again, as .safetensors best"));
            }
        };
        let (state, places) = contents(start, of).map_err(|e| {
            error!("{name} is broken: {}", control_characters(e.message()))
                .help("fetch the file again")
        })?;
        let pickle = Self { name: name.into(), bytes, state, places };
        pickle.check_size()?;
        Ok(pickle)
    }

    fn contents(bytes: &[u8], of: StateOf) -> Result<(StateDict, Vec<Result<ByteRange>>)> {
        let broken = |e: zip::result::ZipError| error!("its zip can't be read ({e})");
        let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
        let names = || zip.file_names().filter_map(|name| Some(name.ok()?.into_owned()));
        let is_pickle = |name: &String| name == "data.pkl" || name.ends_with("/data.pkl");
        let mut pickles = names().filter(is_pickle);
        let (Some(entry), None) = (pickles.next(), pickles.next()) else {
            bail!("its zip has not one data.pkl")
        };
        drop(pickles);
        let root = entry.strip_suffix("data.pkl").unwrap_or_default().to_owned();
        if let Ok(order) = zip.by_name(&format!("{root}byteorder")) {
            let mut said = Vec::new();
            let read = order.take(16).read_to_end(&mut said);
            if read.is_err() || said != b"little" {
                bail!("its numbers are not little-endian");
            }
        }
        let (start, length) = place(&mut zip, &entry)?;
        if length as u64 > FileKind::Pickle.max_bytes() {
            bail!("its pickle has {length} bytes, far more than names and shapes take");
        }
        let pickle =
            bytes.get(start..start + length).ok_or_else(|| error!("its pickle is cut short"))?;
        let state = Objects::read(pickle)
            .and_then(|objects| of(&objects))
            .map_err(|e| e.at("its pickle"))?;
        let places = state
            .storages
            .iter()
            .map(|storage| place(&mut zip, &format!("{root}data/{}", storage.key)));
        let places = places.collect();
        Ok((state, places))
    }

    /// Checks that the tensors fit in memory. Views may share elements, as tied weights do, or
    /// repeat them with strides of 0. What they take beyond twice the storages must fit in the
    /// budget for tensors.
    fn check_size(&self) -> Result<()> {
        // By the first byte, as two names may have the same storage.
        let storages: BTreeMap<usize, usize> = self.places.iter().flatten().copied().collect();
        let held: u64 = storages.values().map(|length| *length as u64).sum();
        let bytes =
            |view: &View| view.elements.saturating_mul(self.dtype(view).size_in_bytes()) as u64;
        let taken = self.state.tensors.values().map(bytes).fold(0, u64::saturating_add);
        let beyond = taken.saturating_sub(held.saturating_mul(2));
        if beyond == 0 {
            return Ok(());
        }
        budget::check_bytes(beyond).map_err(|error| {
            let largest = self.state.tensors.iter().max_by_key(|(_, view)| view.elements);
            let name = largest.map_or_else(String::new, |(name, view)| format!(": {} {:?}", control_characters(name), view.shape));
            let refused = error!(
                "the tensors of {} repeat its {held} bytes until they take {taken}, which does not fit in memory{name}",
                self.name
            );
            match error.help_text() {
                Some(help) => refused.help(help),
                None => refused,
            }
        })
    }

    fn dtype(&self, view: &View) -> DType {
        self.state.storages[view.storage].dtype
    }

    /// The names of all tensors, readable or not.
    pub fn names(&self) -> Vec<String> {
        self.state.tensors.keys().chain(self.state.unreadable.keys()).cloned().collect()
    }

    /// A tensor's shape.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.state.tensors.get(name).map(|view| view.shape.clone())
    }

    /// The dtype that a tensor is stored in.
    pub fn stored(&self, name: &str) -> Option<DType> {
        self.state.tensors.get(name).map(|view| self.dtype(view))
    }

    /// Whether a tensor holds bools, which are stored as u8.
    pub fn is_bool(&self, name: &str) -> bool {
        self.state.tensors.get(name).is_some_and(|view| self.state.storages[view.storage].bools)
    }

    /// The tensors that can't be read, and the reasons.
    pub fn unreadable(&self) -> impl Iterator<Item = (&str, String)> {
        let state = self.state.unreadable.iter().map(|(name, why)| (name.as_str(), why.clone()));
        let lost =
            self.state.tensors.iter().filter_map(|(name, view)| match self.view_bytes(view) {
                Ok(_) => None,
                Err(error) => Some((name.as_str(), error.message().to_owned())),
            });
        state.chain(lost)
    }

    /// Reads a tensor in `dtype` on the CPU.
    ///
    /// # Errors
    /// There is no such tensor, or it can't be read.
    pub fn load(&self, name: &str, dtype: DType) -> Result<Tensor> {
        let at = |error: Error| {
            error!(
                "{}: {}: {}",
                self.name,
                control_characters(name),
                control_characters(error.message())
            )
        };
        if let Some(why) = self.state.unreadable.get(name) {
            return Err(at(error!("{why}")));
        }
        let Some(view) = self.state.tensors.get(name) else {
            bail!("{} has no tensor {}", self.name, control_characters(name))
        };
        self.tensor(view, dtype).map_err(at)
    }

    /// The bytes of a view from its first element to its last, and their place in the file.
    fn view_bytes(&self, view: &View) -> Result<(usize, &[u8])> {
        let (start, length) = self.places[view.storage].clone()?;
        let size = self.dtype(view).size_in_bytes();
        let storage = self
            .bytes
            .get()
            .get(start..start + length)
            .ok_or_else(|| error!("its storage is cut short"))?;
        // Neither product overflows: `StateDict::read` has checked it.
        let (from, to) =
            if view.elements == 0 { (0, 0) } else { (view.offset * size, view.end * size) };
        let numbers = storage.get(from..to);
        Ok((
            start + from,
            numbers.ok_or_else(|| error!("it reaches beyond its storage of {length} bytes"))?,
        ))
    }

    /// Copies a view's elements into a contiguous tensor.
    fn tensor(&self, view: &View, dtype: DType) -> Result<Tensor> {
        let (start, numbers) = self.view_bytes(view)?;
        let storage = &self.state.storages[view.storage];
        let size = storage.dtype.size_in_bytes();
        if view.elements * size == numbers.len() && is_contiguous(view) {
            let tensor = decode(numbers, storage.dtype, storage.bools, &view.shape, dtype);
            self.bytes.release(start, numbers.len());
            return tensor;
        }
        let mut gathered = Vec::new();
        gathered
            .try_reserve_exact(view.elements * size)
            .map_err(|_| error!("it does not fit in memory"))?;
        let mut index = vec![0; view.shape.len()];
        for _ in 0..view.elements {
            let at: usize = index.iter().zip(&view.strides).map(|(i, stride)| i * stride).sum();
            gathered.extend_from_slice(&numbers[at * size..(at + 1) * size]);
            for (i, n) in index.iter_mut().zip(&view.shape).rev() {
                *i += 1;
                if *i < *n {
                    break;
                }
                *i = 0;
            }
        }
        decode(&gathered, storage.dtype, storage.bools, &view.shape, dtype)
    }
}

fn is_contiguous(view: &View) -> bool {
    let mut expected = 1;
    view.shape.iter().zip(&view.strides).rev().all(|(n, stride)| {
        let fits = *n == 1 || *stride == expected;
        expected *= n;
        fits
    })
}

/// The place of an entry's contents in the zip, which must be stored uncompressed.
fn place(zip: &mut ZipArchive<Cursor<&[u8]>>, name: &str) -> Result<ByteRange> {
    let entry = zip.by_name(name).map_err(|e| {
        error!("its zip has no {} that can be read ({e})", control_characters(name))
    })?;
    if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
        bail!(
            "its zip has {} compressed or encrypted, which PyTorch does not do",
            control_characters(name)
        );
    }
    let start = entry.data_start().and_then(|start| usize::try_from(start).ok());
    let length = usize::try_from(entry.size()).ok();
    match (start, length) {
        (Some(start), Some(length)) if start.checked_add(length).is_some() => Ok((start, length)),
        _ => bail!("its zip places {} nowhere", control_characters(name)),
    }
}
