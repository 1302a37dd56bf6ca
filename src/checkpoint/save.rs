//! A checkpoint written anew, in the Hub's layout: what [`Checkpoint::open`] and transformers read.

use std::cmp::Reverse;
use std::io::Write;
use std::path::Path;

use safetensors::Dtype;
use serde_json::{Map, Value, json};

use super::open::Checkpoint;
use crate::system::write::{write_all, write_json};
use crate::tensor::WeightSource;
use crate::{Result, error};

/// The largest file of weights, in bytes, as transformers has it.
pub const MAX_SHARD_BYTES: usize = 5_000_000_000;

const INDEX: &str = "model.safetensors.index.json";

/// What belongs to a tokenizer, in the formats that there are.
const TOKENIZER: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
];

/// Writes one file: its name, and what fills it.
pub type WriteFile<'a> =
    dyn FnMut(&str, &mut dyn FnMut(&mut dyn Write) -> Result<()>) -> Result<()> + 'a;

/// A tensor that is to be written: where it stands in its file is told by its size.
struct Entry {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: usize,
}

impl Checkpoint {
    /// A file in `directory` that would be read as one of this checkpoint, were it saved there, and
    /// is none.
    ///
    /// # Errors
    /// As [`size`](Self::size).
    pub fn foreign_file(&self, directory: &Path, shard: usize) -> Result<Option<&'static str>> {
        let sharded = split(self.entries()?, shard).len() > 1;
        let own = |name: &str| match name {
            INDEX => sharded,
            "generation_config.json" => self.generation_config.is_some(),
            name => self.files.contains(name),
        };
        let all = TOKENIZER.into_iter().chain([INDEX, "generation_config.json"]);
        Ok(all.into_iter().find(|name| !own(name) && directory.join(name).exists()))
    }

    /// How many bytes its weights take.
    ///
    /// # Errors
    /// One that can't be written.
    pub fn size(&self) -> Result<usize> {
        Ok(self.entries()?.iter().map(|entry| entry.bytes).sum())
    }

    /// Writes it, weights in files of at most `shard` bytes (but for a tensor that is larger), each
    /// in the dtype that it is stored in. config.json comes last: without it a directory is no
    /// checkpoint.
    ///
    /// # Errors
    /// A tensor that can't be read; those of `write`.
    pub fn save(&self, shard: usize, write: &mut WriteFile) -> Result<()> {
        let shards = split(self.entries()?, shard);
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
        for name in TOKENIZER {
            if let Some(bytes) = self.files.read(name)? {
                write(name, &mut |to| write_all(to, &bytes))?;
            }
        }
        if let Some(config) = &self.generation_config {
            write("generation_config.json", &mut |to| {
                write_json(to, &Value::Object(config.clone()))
            })?;
        }
        write("config.json", &mut |to| write_json(to, &Value::Object(self.config.clone())))
    }

    /// The largest elements first, so that each stands where its size divides its place.
    fn entries(&self) -> Result<Vec<Entry>> {
        let entry = |name: String| {
            let stored = self.weights.stored(&name);
            let (dtype, shape) = stored
                .ok_or_else(|| error!("the weight {name} can't be written as .safetensors"))?;
            let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
            Ok(Entry { name, dtype, shape, bytes })
        };
        let mut entries =
            self.weights.names().into_iter().map(entry).collect::<Result<Vec<_>>>()?;
        entries.sort_by(|a, b| {
            (Reverse(a.dtype.bitsize()), &a.name).cmp(&(Reverse(b.dtype.bitsize()), &b.name))
        });
        Ok(entries)
    }

    fn write_shard(&self, entries: &[Entry], to: &mut dyn Write) -> Result<()> {
        let mut header = Map::new();
        header.insert("__metadata__".into(), json!({"format": "pt"}));
        let mut at = 0;
        for Entry { name, dtype, shape, bytes } in entries {
            let info = json!({"dtype": dtype, "shape": shape, "data_offsets": [at, at + bytes]});
            header.insert(name.clone(), info);
            at += bytes;
        }
        let mut header = Value::Object(header).to_string();
        while !header.len().is_multiple_of(8) {
            header.push(' ');
        }
        write_all(to, &(header.len() as u64).to_le_bytes())?;
        write_all(to, header.as_bytes())?;
        entries.iter().try_for_each(|entry| self.weights.write(&entry.name, to))
    }
}

/// Entries in their order, in groups of at most `most` bytes.
fn split(entries: Vec<Entry>, most: usize) -> Vec<Vec<Entry>> {
    let mut shards: Vec<Vec<Entry>> = vec![Vec::new()];
    let mut bytes = 0;
    for entry in entries {
        if bytes + entry.bytes > most && bytes > 0 {
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
