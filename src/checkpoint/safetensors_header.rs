//! The header of a .safetensors file, checked against the file's size. A tensor of an unknown dtype
//! does not make the file unreadable: only that tensor can't be loaded.

use std::collections::BTreeMap;

use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde_json::{Map, Value as Json};

/// The parsed header of a file.
pub struct Header {
    /// The tensors, which `Metadata::new` has checked: they neither overlap nor leave gaps. One of
    /// unknown dtype is in it as u8.
    tensors: Metadata,
    /// The dtype and the shape of each tensor of unknown dtype.
    unknown: BTreeMap<String, (String, Vec<usize>)>,
    /// The byte at which the data begins.
    start: usize,
}

impl Header {
    /// Reads the header of a file's bytes.
    ///
    /// # Errors
    /// The header is malformed or does not fit the file's size.
    pub fn read(file: &[u8]) -> Result<Self, SafeTensorError> {
        let failed = match SafeTensors::read_metadata(file) {
            Ok((length, tensors)) => {
                return Ok(Self {
                    tensors,
                    unknown: BTreeMap::new(),
                    start: length + LENGTH_BYTES,
                });
            }
            Err(SafeTensorError::InvalidHeaderDeserialization(cause)) => cause,
            Err(other) => return Err(other),
        };
        let failed = || SafeTensorError::InvalidHeaderDeserialization(failed);
        let Some((start, header)) =
            text(file).and_then(|(start, text)| Some((start, serde_json::from_str(text).ok()?)))
        else {
            return Err(failed());
        };
        let (tensors, unknown) = match lenient(header) {
            Some((tensors, unknown)) if !unknown.is_empty() => (tensors?, unknown),
            _ => return Err(failed()),
        };
        if start.checked_add(tensors.data_len()) != Some(file.len()) {
            return Err(SafeTensorError::MetadataIncompleteBuffer);
        }
        Ok(Self { tensors, unknown, start })
    }

    /// Reads the header from the beginning of a file of `length` bytes, of which `file` has at least
    /// the whole header.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_beginning(file: &[u8], length: usize) -> Result<Self, SafeTensorError> {
        let header =
            text(file).and_then(|(start, text)| Some((start, serde_json::from_str(text).ok()?)));
        let Some((start, header)) = header else {
            return Err(SafeTensorError::InvalidHeaderLength);
        };
        let Some((tensors, unknown)) = lenient(header) else {
            return Err(SafeTensorError::InvalidHeaderLength);
        };
        let tensors = tensors?;
        if start.checked_add(tensors.data_len()) != Some(length) {
            return Err(SafeTensorError::MetadataIncompleteBuffer);
        }
        Ok(Self { tensors, unknown, start })
    }

    /// The names of all tensors, in the order of their data.
    pub fn names(&self) -> Vec<String> {
        self.tensors.offset_keys()
    }

    /// The shape of a tensor; nothing if there is no such tensor.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match self.unknown.get(name) {
            Some((_, shape)) => Some(shape.clone()),
            None => Some(self.tensors.info(name)?.shape.clone()),
        }
    }

    /// A tensor's dtype, and its bytes as a range in the file. Nothing if there is no such tensor.
    ///
    /// # Errors
    /// The name of its dtype, if that is unknown.
    pub fn find(&self, name: &str) -> Option<Result<(Dtype, std::ops::Range<usize>), &str>> {
        let info = self.tensors.info(name)?;
        Some(match self.unknown.get(name) {
            Some((dtype, _)) => Err(dtype),
            None => {
                Ok((info.dtype, self.start + info.data_offsets.0..self.start + info.data_offsets.1))
            }
        })
    }

    /// The value of a key in the header's `__metadata__`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.tensors.metadata().as_ref()?.get(key).map(String::as_str)
    }
}

/// The size of the header's length, which comes before the header: a little-endian u64.
const LENGTH_BYTES: usize = 8;

/// The byte at which the data begins, and the header's JSON text.
fn text(file: &[u8]) -> Option<(usize, &str)> {
    let length = u64::from_le_bytes(file.get(..LENGTH_BYTES)?.try_into().ok()?);
    let start = usize::try_from(length).ok()?.checked_add(LENGTH_BYTES)?;
    Some((start, std::str::from_utf8(file.get(LENGTH_BYTES..start)?).ok()?))
}

type Lenient = (Result<Metadata, SafeTensorError>, BTreeMap<String, (String, Vec<usize>)>);

/// Parses a header, with tensors of unknown dtypes as u8; nothing if anything else is wrong with
/// it.
fn lenient(header: Map<String, Json>) -> Option<Lenient> {
    #[derive(serde::Deserialize)]
    struct Entry {
        dtype: String,
        shape: Vec<usize>,
        data_offsets: (usize, usize),
    }
    let (mut metadata, mut tensors, mut unknown) = (None, Vec::new(), BTreeMap::new());
    for (name, entry) in header {
        if name == "__metadata__" {
            metadata = serde_json::from_value(entry).ok()?;
            continue;
        }
        let Entry { dtype, shape, data_offsets } = serde_json::from_value(entry).ok()?;
        let info = match serde_json::from_value::<Dtype>(Json::from(dtype.as_str())) {
            Ok(dtype) => TensorInfo { dtype, shape, data_offsets },
            Err(_) => {
                unknown.insert(name.clone(), (dtype, shape));
                let bytes = data_offsets.1.checked_sub(data_offsets.0)?;
                TensorInfo { dtype: Dtype::U8, shape: vec![bytes], data_offsets }
            }
        };
        tensors.push((name, info));
    }
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    Some((Metadata::new(metadata, tensors), unknown))
}
