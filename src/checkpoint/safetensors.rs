//! One .safetensors file. Its header is checked before any tensor is read.

use std::io::Write;

use candle_core::{DType, Tensor};
use safetensors::{Dtype, SafeTensorError};

use super::decode::decode;
use super::files::Bytes;
use super::safetensors_header::Header;
use crate::system::write::write_all;
use crate::{Error, Result, bail, error};

/// A mapped .safetensors file.
pub struct SafeTensors {
    /// The file's name, for messages.
    name: String,
    bytes: Bytes,
    header: Header,
}

impl SafeTensors {
    /// Reads the header of a file called `name`.
    ///
    /// # Errors
    /// The file is empty, cut short or a Git LFS pointer, or its header does not fit its data.
    pub fn open(bytes: Bytes, name: &str) -> Result<Self> {
        if bytes.get().is_empty() {
            bail!("{name} is empty");
        }
        if bytes.get().starts_with(b"version https://git-lfs") {
            return Err(error!("{name} is a Git LFS pointer, not the weights")
                .help("fetch them with git lfs pull"));
        }
        let header = Header::read(bytes.get()).map_err(|e| broken(name, bytes.get().len(), &e))?;
        Ok(Self { name: name.into(), bytes, header })
    }

    /// The names of all tensors.
    pub fn names(&self) -> Vec<String> {
        self.header.names()
    }

    /// A tensor's shape.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.header.shape(name)
    }

    /// The dtype that a tensor is stored in; nothing if it is unknown.
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        Some(self.header.find(name)?.ok()?.0)
    }

    /// Reads a tensor in `dtype` on the CPU.
    ///
    /// # Errors
    /// There is no such tensor, or its dtype is not supported.
    pub fn load(&self, name: &str, dtype: DType) -> Result<Tensor> {
        self.read(name, |data, stored, shape| {
            tensor(data, stored, shape, dtype).map_err(|e| e.at(format!("{}: {name}", self.name)))
        })
    }

    /// Writes a tensor's bytes as they are in the file.
    ///
    /// # Errors
    /// There is no such tensor, its dtype is unknown, or the writer fails.
    pub fn write(&self, name: &str, to: &mut dyn Write) -> Result<()> {
        self.read(name, |data, _, _| write_all(to, data))
    }

    /// Calls `f` with a tensor's bytes, dtype and shape, and drops the pages that it read.
    fn read<T>(
        &self,
        name: &str,
        f: impl FnOnce(&[u8], Dtype, &[usize]) -> Result<T>,
    ) -> Result<T> {
        let (stored, place) = match self.header.find(name) {
            Some(Ok(found)) => found,
            Some(Err(unknown)) => {
                bail!("{}: {name}: the dtype {unknown} is not supported", self.name)
            }
            None => bail!("{} has no tensor {name}", self.name),
        };
        let shape = self.header.shape(name).unwrap_or_default();
        let cut = || error!("{} is cut short at {name}", self.name);
        let data = self.bytes.get().get(place.clone()).ok_or_else(cut)?;
        let read = f(data, stored, &shape)?;
        self.bytes.release(place.start, place.len());
        Ok(read)
    }
}

fn tensor(data: &[u8], stored: Dtype, shape: &[usize], dtype: DType) -> Result<Tensor> {
    let is_bool = stored == Dtype::BOOL;
    let stored = match stored {
        Dtype::BOOL | Dtype::U8 => DType::U8,
        Dtype::U32 => DType::U32,
        Dtype::I16 => DType::I16,
        Dtype::I32 => DType::I32,
        Dtype::I64 => DType::I64,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        other => bail!("the dtype {other:?} is not supported"),
    };
    decode(data, stored, is_bool, shape, dtype)
}

fn broken(name: &str, length: usize, cause: &SafeTensorError) -> Error {
    let what = match cause {
        SafeTensorError::HeaderTooSmall => format!("it has {length} bytes, too few for a header"),
        SafeTensorError::HeaderTooLarge => "its header claims to be larger than any is".into(),
        SafeTensorError::InvalidHeaderLength => {
            format!("its header is longer than its {length} bytes: it is cut short")
        }
        SafeTensorError::MetadataIncompleteBuffer => {
            format!(
                "its {length} bytes are not what its header says: it is cut short, or has too much"
            )
        }
        SafeTensorError::InvalidOffset(tensor) => {
            format!("its header places {tensor} where another tensor is, or leaves a gap before it")
        }
        SafeTensorError::TensorInvalidInfo => {
            "its header gives a tensor another size than its shape has".into()
        }
        other => format!("its header can't be read ({other})"),
    };
    error!("{name} is broken: {what}").help("fetch the file again")
}
