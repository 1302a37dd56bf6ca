//! Writes a checkpoint in the Hub's layout, which [`Checkpoint::open`] and transformers read.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use candle_core::Tensor;
use safetensors::Dtype;
use serde_json::{Map, Value as Json, json};

use super::open::Checkpoint;
use crate::system::write::{write_all, write_json};
use crate::tensor::dtype::to_safetensors;
use crate::tensor::transfer::bytes::to_le_bytes;
use crate::tensor::{Value, WeightSource};
use crate::{Result, error};

/// The largest file of weights in bytes: the default of transformers.
pub const MAX_SHARD_BYTES: usize = 5_000_000_000;

/// The index of several files of weights.
const INDEX: &str = "model.safetensors.index.json";

/// The files of a tokenizer, in all formats.
const TOKENIZER_FILES: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
];

/// Writes one file. Gets its name, and a function that writes the contents.
pub type WriteFile<'a> =
    dyn FnMut(&str, &mut dyn FnMut(&mut dyn Write) -> Result<()>) -> Result<()> + 'a;

/// Tensors to write in the place of the checkpoint's, by name.
pub type Replaced = BTreeMap<String, Tensor>;

/// A tensor to be written.
struct Entry {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Its size in bytes.
    bytes: usize,
    /// What is written instead of the checkpoint's.
    replaced: Option<Tensor>,
}

impl Checkpoint {
    /// The name of a file in `directory` that [`save`](Self::save) would not overwrite, and that
    /// would then be read as part of this checkpoint; nothing if there is none.
    ///
    /// # Errors
    /// As [`size`](Self::size).
    pub fn foreign_file(
        &self,
        directory: &Path,
        replaced: &Replaced,
        shard: usize,
    ) -> Result<Option<&'static str>> {
        let sharded = split(self.entries(replaced)?, shard).len() > 1;
        let own = |name: &str| match name {
            INDEX => sharded,
            "generation_config.json" => self.generation_config.is_some(),
            name => self.files.contains(name),
        };
        let all = TOKENIZER_FILES.into_iter().chain([INDEX, "generation_config.json"]);
        Ok(all.into_iter().find(|name| !own(name) && directory.join(name).exists()))
    }

    /// The size of its weights in bytes, with those `replaced`.
    ///
    /// # Errors
    /// A weight has a dtype that .safetensors can't hold.
    pub fn size(&self, replaced: &Replaced) -> Result<usize> {
        Ok(self.entries(replaced)?.iter().map(|entry| entry.bytes).sum())
    }

    /// Writes all files with `write`, and the weights `replaced` instead of the checkpoint's. The
    /// weights keep their dtypes and go into files of at most `shard` bytes; a larger tensor gets a
    /// file of its own. config.json comes last: an incomplete
    /// directory is no checkpoint.
    ///
    /// # Errors
    /// A tensor can't be read, or `write` fails.
    pub fn save(&self, replaced: &Replaced, shard: usize, write: &mut WriteFile) -> Result<()> {
        let shards = split(self.entries(replaced)?, shard);
        let single = shards.len() == 1;
        let mut places = Map::new();
        let mut total = 0;
        for (at, entries) in shards.iter().enumerate() {
            let name = match single {
                true => "model.safetensors".to_owned(),
                false => format!("model-{:05}-of-{:05}.safetensors", at + 1, shards.len()),
            };
            for entry in entries {
                places.insert(entry.name.clone(), name.clone().into());
                total += entry.bytes;
            }
            write(&name, &mut |to| self.write_shard(entries, to))?;
        }
        if !single {
            let index = json!({"metadata": {"total_size": total}, "weight_map": places});
            write(INDEX, &mut |to| write_json(to, &index))?;
        }
        for name in TOKENIZER_FILES {
            if let Some(bytes) = self.files.read(name)? {
                write(name, &mut |to| write_all(to, &bytes))?;
            }
        }
        if let Some(config) = &self.generation_config {
            write("generation_config.json", &mut |to| {
                write_json(to, &Json::Object(config.clone()))
            })?;
        }
        write("config.json", &mut |to| write_json(to, &Json::Object(self.config.clone())))
    }

    /// The tensors in the order of their data: the largest elements first, so that each tensor
    /// begins at a multiple of its element size.
    fn entries(&self, replaced: &Replaced) -> Result<Vec<Entry>> {
        let entry = |name: String| {
            let replaced = replaced.get(&name).cloned();
            let stored = match &replaced {
                Some(tensor) => {
                    to_safetensors(tensor.dtype()).map(|dtype| (dtype, tensor.dims().to_vec()))
                }
                None => self.weights.stored(&name),
            };
            let (dtype, shape) = stored
                .ok_or_else(|| error!("the weight {name} can't be written as .safetensors"))?;
            let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
            Ok(Entry { name, dtype, shape, bytes, replaced })
        };
        let mut entries =
            self.weights.names().into_iter().map(entry).collect::<Result<Vec<_>>>()?;
        entries.sort_by(|a, b| {
            (Reverse(a.dtype.bitsize()), &a.name).cmp(&(Reverse(b.dtype.bitsize()), &b.name))
        });
        Ok(entries)
    }

    /// Writes one .safetensors file.
    fn write_shard(&self, entries: &[Entry], to: &mut dyn Write) -> Result<()> {
        let mut header = Map::new();
        header.insert("__metadata__".into(), json!({"format": "pt"}));
        let mut at = 0;
        for Entry { name, dtype, shape, bytes, .. } in entries {
            let info = json!({"dtype": dtype, "shape": shape, "data_offsets": [at, at + bytes]});
            header.insert(name.clone(), info);
            at += bytes;
        }
        let mut header = Json::Object(header).to_string();
        while !header.len().is_multiple_of(8) {
            header.push(' ');
        }
        write_all(to, &(header.len() as u64).to_le_bytes())?;
        write_all(to, header.as_bytes())?;
        entries.iter().try_for_each(|entry| match &entry.replaced {
            Some(tensor) => write_all(to, &to_le_bytes(&Value::Real(tensor.clone()))?),
            None => self.weights.write(&entry.name, to),
        })
    }
}

/// Splits entries, in order, into groups of at most `max_bytes` bytes.
fn split(entries: Vec<Entry>, max_bytes: usize) -> Vec<Vec<Entry>> {
    let mut shards: Vec<Vec<Entry>> = vec![Vec::new()];
    let mut bytes = 0;
    for entry in entries {
        if bytes + entry.bytes > max_bytes && bytes > 0 {
            shards.push(Vec::new());
            bytes = 0;
        }
        bytes += entry.bytes;
        if let Some(last) = shards.last_mut() {
            last.push(entry);
        }
    }
    shards
}
