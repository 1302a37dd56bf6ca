//! GGUF files, as llama.cpp reads them: a model in one file. What a file's metadata say stands for
//! the files of a checkpoint in the Hub's layout, and its tensors have the names and the form that they
//! have there, so that everything else here reads it as any other.

mod config;
mod decode;
mod header;
mod names;
mod tokenizer;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Tensor};
use serde_json::json;

use self::header::{Metadata, Stored};
use self::names::{Form, Places};
use super::files::Bytes;
use super::files::Files;
use crate::system::directory::HeldDirectory;
use crate::system::message::notice;
use crate::{Result, bail, error};

/// How the names of files end.
pub const ENDING: &str = ".gguf";

/// The tensors of a GGUF file under the names of the Hub's checkpoints.
pub struct Gguf {
    parts: Vec<Part>,
    places: Places,
}

/// A file: a model may be split over several.
struct Part {
    name: String,
    bytes: Bytes,
    tensors: BTreeMap<String, Stored>,
}

/// A GGUF file as a checkpoint.
pub struct Opened {
    /// config.json and the tokenizer's files.
    pub files: Files,
    pub weights: Gguf,
}

/// Opens the GGUF file `name` of a directory, and the others that the model is split over.
///
/// # Errors
/// It is none, its header contradicts it, or the model is not supported.
pub fn open(directory: &Path, name: &str) -> Result<Opened> {
    let held = Files::Directory(
        HeldDirectory::open(directory)
            .map_err(|cause| error!("{} can't be read: {cause}", directory.display()))?,
    );
    let (first, metadata) = Part::open(&held, name)?;
    let mut parts = vec![first];
    for name in other_parts(name, &metadata)? {
        parts.push(Part::open(&held, &name)?.0);
    }
    let tensors: BTreeMap<String, Stored> = parts
        .iter()
        .flat_map(|part| part.tensors.iter().map(|(name, stored)| (name.clone(), stored.clone())))
        .collect();
    let numbers = |tensor: &str| -> Result<Vec<f32>> {
        let (part, stored) = find(&parts, tensor)?;
        let numbers = decode::tensor(part.data(stored), stored, Form::Same, DType::F32)?;
        Ok(numbers.flatten_all()?.to_vec1()?)
    };
    let model = config::read(&metadata, &tensors, &numbers, name)?;
    let places = names::places(model.architecture, &tensors, model.heads);
    let mut made = match tokenizer::files(&metadata, model.architecture) {
        Ok(files) => files,
        Err(cause) => {
            notice(format_args!(
                "warning: {name} has no tokenizer that can be read: {}",
                cause.message()
            ));
            BTreeMap::new()
        }
    };
    let mut ends = Vec::new();
    for key in ["eos", "eot", "eom"] {
        let id = metadata.count(&format!("tokenizer.ggml.{key}_token_id"))?;
        ends.extend(id.filter(|id| !ends.contains(id)));
    }
    if !ends.is_empty() {
        let generation = json!({"eos_token_id": ends});
        made.insert("generation_config.json".into(), generation.to_string().into_bytes());
    }
    let config = serde_json::Value::Object(model.config);
    made.insert("config.json".into(), config.to_string().into_bytes());
    let files = Files::Made { of: directory.join(name).display().to_string(), files: made };
    Ok(Opened { files, weights: Gguf { parts, places } })
}

/// The names of the files of a directory that are the first, or the only one, of a model.
pub fn models_in(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut models: Vec<String> = names
        .filter(|name| name.ends_with(ENDING))
        .filter(|name| part_of(name).is_none_or(|(_, part, _)| part == 1))
        .collect();
    models.sort();
    models
}

/// The stem, the number and the count of a part: `model-00001-of-00003.gguf`.
fn part_of(name: &str) -> Option<(&str, usize, usize)> {
    let (rest, count) = name.strip_suffix(ENDING)?.rsplit_once("-of-")?;
    let (stem, part) = rest.rsplit_once('-')?;
    Some((stem, part.parse().ok()?, count.parse().ok()?))
}

/// The names of the parts after the first.
pub fn parts_after(name: &str) -> Vec<String> {
    match part_of(name) {
        Some((stem, 1, count)) if count <= MAX_PARTS => {
            (2..=count).map(|part| format!("{stem}-{part:05}-of-{count:05}{ENDING}")).collect()
        }
        _ => Vec::new(),
    }
}

/// The most files of one model.
const MAX_PARTS: usize = 1000;

fn other_parts(name: &str, metadata: &Metadata) -> Result<Vec<String>> {
    let count = metadata.count("split.count")?.unwrap_or(1);
    let others = parts_after(name);
    if count > 1 && others.len() as u64 + 1 != count {
        return Err(error!("{name} is not the first of the {count} files of its model").help(
            "give the one that ends with -00001-of-….gguf, and keep the names of the others",
        ));
    }
    Ok(others)
}

fn find<'a>(parts: &'a [Part], tensor: &str) -> Result<(&'a Part, &'a Stored)> {
    let found = parts.iter().find_map(|part| Some((part, part.tensors.get(tensor)?)));
    found.ok_or_else(|| error!("there is no tensor {tensor}"))
}

impl Part {
    fn open(files: &Files, name: &str) -> Result<(Self, Metadata)> {
        if !files.contains(name) {
            bail!("the part {name} is missing");
        }
        let bytes = files.map(name)?;
        let (metadata, tensors) = header::read(bytes.get(), name)?;
        Ok((Self { name: name.to_owned(), bytes, tensors }, metadata))
    }

    fn data(&self, stored: &Stored) -> &[u8] {
        &self.bytes.get()[stored.place.clone()]
    }
}

impl Gguf {
    /// The names of all tensors.
    pub fn names(&self) -> Vec<String> {
        self.places.keys().cloned().collect()
    }

    fn find(&self, name: &str) -> Option<(&Part, &Stored, Form)> {
        let (own, form) = self.places.get(name)?;
        let (part, stored) = find(&self.parts, own).ok()?;
        Some((part, stored, *form))
    }

    /// A tensor's shape.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let (_, stored, form) = self.find(name)?;
        Some(decode::shape(stored, form))
    }

    /// The dtype that holds a tensor's elements as they are: float32 for quantised ones.
    pub fn dtype(&self, name: &str) -> Option<DType> {
        let (_, stored, form) = self.find(name)?;
        let plain = decode::plain(stored.dtype).filter(|_| form != Form::MoreOne);
        Some(plain.unwrap_or(DType::F32))
    }

    /// Reads a tensor in `dtype` on the CPU.
    ///
    /// # Errors
    /// There is none of that name, or its shape is not what the model's is.
    pub fn load(&self, name: &str, dtype: DType) -> Result<Tensor> {
        let Some((part, stored, form)) = self.find(name) else {
            bail!("there is no tensor {name}")
        };
        let tensor = decode::tensor(part.data(stored), stored, form, dtype)
            .map_err(|e| e.at(format!("{}: {name}", part.name)))?;
        part.bytes.release(stored.place.start, stored.place.len());
        Ok(tensor)
    }
}
