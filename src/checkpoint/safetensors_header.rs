//! The header of a .safetensors file. A tensor of a dtype that nobody here knows makes no file
//! unreadable: it alone can't be had, and takes part by the bytes that it lies in.

use std::collections::BTreeMap;

use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde_json::{Map, Value as Json};

pub struct Header {
    /// Checked against each other: no two lie in one place, and there is no gap.
    tensors: Metadata,
    /// The dtype and the shape of those whose dtype is not known.
    unknown: BTreeMap<String, (String, Vec<usize>)>,
    /// Where the data begins in the file.
    start: usize,
}

impl Header {
    /// # Errors
    /// A header that does not fit the file.
    pub fn read(file: &[u8]) -> Result<Self, SafeTensorError> {
        let failed = match SafeTensors::read_metadata(file) {
            Ok((length, tensors)) => {
                return Ok(Self { tensors, unknown: BTreeMap::new(), start: length + LENGTH });
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

    /// The names of all tensors, known or not.
    pub fn names(&self) -> Vec<String> {
        self.tensors.offset_keys()
    }

    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match self.unknown.get(name) {
            Some((_, shape)) => Some(shape.clone()),
            None => Some(self.tensors.info(name)?.shape.clone()),
        }
    }

    /// Where in the file a tensor's bytes lie, and what they are.
    ///
    /// # Errors
    /// The name of a dtype that is not known.
    pub fn find(&self, name: &str) -> Option<Result<(Dtype, std::ops::Range<usize>), &str>> {
        let info = self.tensors.info(name)?;
        Some(match self.unknown.get(name) {
            Some((dtype, _)) => Err(dtype),
            None => {
                Ok((info.dtype, self.start + info.data_offsets.0..self.start + info.data_offsets.1))
            }
        })
    }

    /// What the file says of itself under a key.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.tensors.metadata().as_ref()?.get(key).map(String::as_str)
    }
}

/// The bytes before the header, which say how long it is.
const LENGTH: usize = 8;

/// The header's text, and where the data begins.
fn text(file: &[u8]) -> Option<(usize, &str)> {
    let length = u64::from_le_bytes(file.get(..LENGTH)?.try_into().ok()?);
    let start = usize::try_from(length).ok()?.checked_add(LENGTH)?;
    Some((start, std::str::from_utf8(file.get(LENGTH..start)?).ok()?))
}

type Lenient = (Result<Metadata, SafeTensorError>, BTreeMap<String, (String, Vec<usize>)>);

/// The tensors of a header, those of unknown dtypes as their bytes; nothing where another thing is
/// wrong with it.
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
