//! A checkpoint's weights by name, in .safetensors, in PyTorch's format or in a GGUF file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;

use super::files::Files;
use super::gguf::Gguf;
use super::pickle::Pickle;
use super::safetensors::SafeTensors;
use crate::system::escape::control_characters;
use crate::system::interrupt;
use crate::system::message::notice;
use crate::system::write::write_all;
use crate::tensor::transfer::bytes::to_le_bytes;
use crate::tensor::{Value, WeightSource, dtype};
use crate::{Result, bail, did_you_mean, error};

/// The names of weight files, in the order in which they are looked for: an index of several files,
/// or one file.
pub const WEIGHT_FILES: [&str; 4] = [
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
];

/// The config of an adapter.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";

/// The names of an adapter's tensors, in the order in which they are looked for.
pub const ADAPTER_WEIGHTS: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];

/// Weights by name. Each is read from its file when it is asked for.
pub struct Weights {
    shards: Vec<Shard>,
    /// Of each tensor the position in `shards` of its file, and its name there.
    place: BTreeMap<String, (usize, String)>,
}

/// What training in parallel and compiling put before the names of a whole model's tensors.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// One file of weights.
enum Shard {
    SafeTensors(SafeTensors),
    Pickle(Pickle),
    Gguf(Gguf),
}

impl Shard {
    fn open(files: &Files, name: &str) -> Result<Self> {
        if !files.contains(name) {
            bail!("the shard {name} is missing");
        }
        if name.ends_with(".bin") {
            let pickle = Pickle::open(files.map(name)?, name)?;
            warn_of_unreadable(name, &pickle);
            return Ok(Shard::Pickle(pickle));
        }
        Ok(Shard::SafeTensors(SafeTensors::open(files.map(name)?, name)?))
    }

    fn names(&self) -> Vec<String> {
        match self {
            Shard::SafeTensors(file) => file.names(),
            Shard::Pickle(file) => file.names(),
            Shard::Gguf(file) => file.names(),
        }
    }
}

/// Warns of tensors that can't be read. Only loading one of them is an error.
fn warn_of_unreadable(file: &str, pickle: &Pickle) {
    /// The most tensors that the warning names.
    const MAX_NAMED: usize = 8;
    let unreadable: Vec<_> =
        pickle.unreadable().map(|(name, why)| format!("{name} ({why})")).collect();
    if unreadable.is_empty() {
        return;
    }
    let named =
        control_characters(&unreadable[..unreadable.len().min(MAX_NAMED)].join(", ")).into_owned();
    let more = unreadable.len().saturating_sub(MAX_NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    notice(format_args!("warning: {file} has tensors that can't be read: {named}{more}"));
}

/// The files that an index called `name` lists in its `weight_map`, each once.
///
/// # Errors
/// The map is missing, or names something other than a file in the same directory.
pub fn shard_names(
    index: &serde_json::Map<String, serde_json::Value>,
    name: &str,
) -> Result<Vec<String>> {
    let Some(map) = index.get("weight_map").and_then(|map| map.as_object()) else {
        bail!("{name} has no weight_map")
    };
    let mut files = BTreeSet::new();
    for file in map.values() {
        let plain = |file: &&str| {
            !file.contains(['/', '\\'])
                && !file.contains(char::is_control)
                && !file.starts_with('.')
        };
        let Some(file) = file.as_str().filter(plain) else {
            bail!("{name} names a shard that is no file beside it: {file}")
        };
        files.insert(file.to_owned());
    }
    Ok(files.into_iter().collect())
}

/// The names of a checkpoint's weight files. An index may name files that are missing.
///
/// # Errors
/// There are none, or the index is broken.
pub fn weight_files(files: &Files) -> Result<Vec<String>> {
    let Some(format) = WEIGHT_FILES.into_iter().find(|name| files.contains(name)) else {
        return Err(error!("{} has no weights", files.describe())
            .help(format!("a checkpoint has one of {}", WEIGHT_FILES.join(", "))));
    };
    match format.ends_with(".index.json") {
        true => shard_names(&files.json(format)?.unwrap_or_default(), format),
        false => Ok(vec![format.to_owned()]),
    }
}

impl Weights {
    /// Opens all weight files and reads their headers.
    ///
    /// # Errors
    /// There are no weight files, one is missing, or one is broken.
    pub fn open(files: &Files) -> Result<Self> {
        Self::of(files, &weight_files(files)?)
    }

    /// Opens one file of weights.
    ///
    /// # Errors
    /// It is missing or broken.
    pub fn of_file(files: &Files, name: &str) -> Result<Self> {
        Self::of(files, &[name.to_owned()])
    }

    fn of(files: &Files, names: &[String]) -> Result<Self> {
        let shards = names.iter().map(|name| Shard::open(files, name));
        Ok(Self::of_shards(shards.collect::<Result<_>>()?))
    }

    /// Those of a GGUF file.
    pub fn of_gguf(file: Gguf) -> Self {
        Self::of_shards(vec![Shard::Gguf(file)])
    }

    fn of_shards(shards: Vec<Shard>) -> Self {
        let place = shards
            .iter()
            .enumerate()
            .flat_map(|(at, shard)| shard.names().into_iter().map(move |name| (name, at)))
            .map(|(name, at)| (name.clone(), (at, name)))
            .collect();
        Self { shards, place: unwrapped(place) }
    }

    /// The file that has a tensor, and the tensor's name there.
    fn find(&self, name: &str) -> Option<(&Shard, &str)> {
        let (at, stored) = self.place.get(name)?;
        Some((&self.shards[*at], stored))
    }

    /// A tensor's shape. Its data are not read.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match self.find(name)? {
            (Shard::SafeTensors(file), name) => file.shape(name),
            (Shard::Pickle(file), name) => file.shape(name),
            (Shard::Gguf(file), name) => file.shape(name),
        }
    }

    /// The dtype that a tensor is stored in, and its shape. Nothing if there is no such tensor or
    /// .safetensors has no such dtype.
    pub fn stored(&self, name: &str) -> Option<(Dtype, Vec<usize>)> {
        let dtype = match self.find(name)? {
            (Shard::SafeTensors(file), name) => file.dtype(name)?,
            (Shard::Pickle(file), name) => dtype::to_safetensors(file.stored(name)?)?,
            (Shard::Gguf(file), name) => dtype::to_safetensors(file.dtype(name)?)?,
        };
        Some((dtype, self.shape(name)?))
    }

    /// Writes a tensor's elements, little-endian, in the dtype that they are stored in.
    ///
    /// # Errors
    /// There is no such tensor, it can't be read, or the writer fails.
    pub fn write(&self, name: &str, to: &mut dyn Write) -> Result<()> {
        let Some(found) = self.find(name) else { bail!("the checkpoint has no weight {name}") };
        match found {
            (Shard::SafeTensors(file), name) => file.write(name, to),
            (Shard::Pickle(file), name) => {
                let Some(dtype) = file.stored(name) else {
                    bail!("the weight {name} can't be read")
                };
                write_all(to, &to_le_bytes(&Value::Real(file.load(name, dtype)?))?)
            }
            (Shard::Gguf(file), name) => {
                let dtype = file.dtype(name).unwrap_or(DType::F32);
                write_all(to, &to_le_bytes(&Value::Real(file.load(name, dtype)?))?)
            }
        }
    }
}

/// The tensors by the names that they have in the model itself, whatever wrapped it when it was
/// saved.
fn unwrapped<T>(place: BTreeMap<String, T>) -> BTreeMap<String, T> {
    if place.is_empty() {
        return place;
    }
    let mut cut = 0;
    while let Some(wrapper) = WRAPPERS
        .into_iter()
        .find(|wrapper| place.keys().all(|name| name[cut..].starts_with(wrapper)))
    {
        cut += wrapper.len();
    }
    place.into_iter().map(|(name, at)| (name[cut..].to_owned(), at)).collect()
}

impl WeightSource for Weights {
    fn names(&self) -> Vec<String> {
        self.place.keys().cloned().collect()
    }

    fn contains(&self, name: &str) -> bool {
        self.place.contains_key(name)
    }

    fn load(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        interrupt::check()?;
        let Some(found) = self.find(name) else {
            let error = error!("the checkpoint has no weight {name}");
            return Err(match did_you_mean(name, self.place.keys().map(String::as_str)) {
                Some(help) => error.help(help),
                None => error,
            });
        };
        let tensor = match found {
            (Shard::SafeTensors(file), name) => file.load(name, dtype),
            (Shard::Pickle(file), name) => file.load(name, dtype),
            (Shard::Gguf(file), name) => file.load(name, dtype),
        }?;
        Ok(tensor.to_device(device)?)
    }

    fn load_factor(&self, name: &str) -> Result<Tensor> {
        let dtype = match self.stored(name) {
            Some((Dtype::F16, _)) => DType::F16,
            Some((Dtype::BF16, _)) => DType::BF16,
            _ => DType::F32,
        };
        self.load(name, dtype, &Device::Cpu)
    }
}
