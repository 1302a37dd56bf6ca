//! One pytorch_model.bin: a zip of a pickle, which is parsed and never executed, and of the tensors' storages.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use candle_core::pickle::{PthTensors, TensorInfo};
use candle_core::{DType, Device, Tensor};
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use zip::ZipArchive;

use crate::{Result, bail, error};

pub struct Pickle {
    name: String,
    path: PathBuf,
    tensors: HashMap<String, TensorInfo>,
}

impl Pickle {
    /// # Errors
    /// A file that is no zip (PyTorch before 1.6 wrote such), or whose pickle holds anything but tensors by name.
    pub fn open(path: &Path, name: &str) -> Result<Self> {
        let mut start = [0u8; 24];
        let mut file = File::open(path).map_err(|e| error!("{} can't be read: {e}", path.display()))?;
        let read = file.read(&mut start).unwrap_or(0);
        if start[..read].starts_with(b"version https://git-lfs") {
            return Err(error!("{name} is a Git LFS pointer, not the weights").help("fetch them with git lfs pull"));
        }
        if !start[..read].starts_with(b"PK\x03\x04") {
            return Err(error!("{name} is not a zip of a pickle, as PyTorch has written them since 1.6")
                .help("load it with a current PyTorch and save it again, as .safetensors best"));
        }
        // candle reports a broken pickle as an error, but walks a hostile one with unchecked indices here and there.
        let tensors = std::panic::catch_unwind(|| PthTensors::new(path, None))
            .map_err(|_| error!("{name} is broken: its pickle can't be parsed"))?
            .map_err(|e| {
                error!("{name} is broken: {}", crate::Error::from(e).message()).help("fetch the file again")
            })?;
        Ok(Self { name: name.into(), path: path.into(), tensors: tensors.tensor_infos().clone() })
    }

    pub fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.get(name).map(|info| info.layout.dims().to_vec())
    }

    /// A tensor in `dtype`, on the CPU.
    pub fn load(&self, name: &str, dtype: DType) -> Result<Tensor> {
        let Some(info) = self.tensors.get(name) else { bail!("{} has no tensor {name}", self.name) };
        let storage = self.storage(info).map_err(|e| e.at(format!("{}: {name}", self.name)))?;
        let size = info.dtype.size_in_bytes();
        let dims = info.layout.dims();
        let elements: usize = dims.iter().product();
        // Several tensors may share a storage. candle keeps the offset in bytes, and the strides in elements.
        let start = info.layout.start_offset() / size;
        let furthest =
            start + dims.iter().zip(info.layout.stride()).map(|(n, s)| n.saturating_sub(1) * s).sum::<usize>();
        if elements > 0 && (furthest + 1) * size > storage.len() {
            bail!("{} is broken: {name} reaches beyond its storage of {} bytes", self.name, storage.len());
        }
        if info.layout.is_contiguous() {
            return decode(&storage[start * size..(start + elements) * size], info.dtype, dims, dtype);
        }
        let mut gathered = Vec::with_capacity(elements * size);
        for element in 0..elements {
            let mut rest = element;
            let mut index = start;
            for (n, stride) in dims.iter().zip(info.layout.stride()).rev() {
                index += rest % n * stride;
                rest /= n;
            }
            gathered.extend_from_slice(&storage[index * size..(index + 1) * size]);
        }
        decode(&gathered, info.dtype, dims, dtype)
    }

    fn storage(&self, info: &TensorInfo) -> Result<Vec<u8>> {
        let file = File::open(&self.path).map_err(|e| error!("{} can't be read: {e}", self.path.display()))?;
        let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|e| error!("the zip is broken: {e}"))?;
        let mut entry = zip.by_name(&info.path).map_err(|e| error!("the storage {} is missing: {e}", info.path))?;
        let mut bytes = Vec::new();
        // Not trusting the size that the zip gives: a lie would ask for any amount of memory at once.
        entry.read_to_end(&mut bytes).map_err(|e| error!("the storage {} is cut short: {e}", info.path))?;
        Ok(bytes)
    }
}

fn decode(data: &[u8], stored: DType, shape: &[usize], dtype: DType) -> Result<Tensor> {
    if dtype == DType::F32
        && let Some(wide) = widen(data, stored, shape)?
    {
        return Ok(wide);
    }
    Ok(Tensor::from_raw_buffer(data, stored, shape, &Device::Cpu)?.to_dtype(dtype)?)
}

/// Half types as float32, on all cores and without a copy in between; nothing for other dtypes.
pub fn widen(data: &[u8], stored: DType, shape: &[usize]) -> Result<Option<Tensor>> {
    /// Elements converted at a time.
    const BLOCK: usize = 1 << 14;
    let elements: usize = shape.iter().product();
    if !matches!(stored, DType::F16 | DType::BF16) || data.len() != 2 * elements {
        return Ok(None);
    }
    let mut wide = vec![0f32; elements];
    wide.par_chunks_mut(BLOCK).zip(data.par_chunks(2 * BLOCK)).for_each(|(wide, bytes)| {
        let bits = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        if stored == DType::F16 {
            let halves: Vec<half::f16> = bits.map(half::f16::from_bits).collect();
            halves.convert_to_f32_slice(wide);
        } else {
            let halves: Vec<half::bf16> = bits.map(half::bf16::from_bits).collect();
            halves.convert_to_f32_slice(wide);
        }
    });
    Ok(Some(Tensor::from_vec(wide, shape, &Device::Cpu)?))
}
