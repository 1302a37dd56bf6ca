//! Where models come from: the ones inside the binary, a local directory, or the Hugging Face Hub.

mod decode;
mod demo;
mod files;
pub mod hub;
mod pickle;
mod safetensors;
pub mod safetensors_header;
mod save;
mod tokenizer;
mod weights;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

pub use demo::DEMOS;
use files::Files;
pub use hub::cache::Snapshot;
pub use hub::names::{check_path, is_commit, is_hub_id, is_revision};
pub use hub::settings::{Hub, offline_by_environment};
pub use save::{SHARD, WriteFile};
use serde_json::{Map, Value};
pub use tokenizer::{Stream, Tokenizer};
pub use weights::Weights;

use crate::{Error, Result, bail, error};

/// How a checkpoint is to be opened.
#[derive(Debug, Clone, Default)]
pub struct Open {
    /// A branch, tag or commit of a Hub repository; `main` if absent.
    pub revision: Option<String>,
    /// Use only what is embedded, on disk or cached.
    pub offline: bool,
    /// An id that may be the Hub's is the Hub's, even if a directory comes to stand under that
    /// name.
    pub never_a_directory: bool,
    /// Which Hub, and where its files are kept.
    pub hub: Hub,
}

/// A model's files: config, weights, tokenizer. Weights are read when they are asked for.
pub struct Checkpoint {
    /// As it was asked for: `demo:opt`, a directory, `facebook/opt-125m`.
    pub id: String,
    /// The commit, of a checkpoint from the Hub.
    pub revision: Option<String>,
    /// config.json
    pub config: Map<String, Value>,
    /// generation_config.json, where there is one.
    pub generation_config: Option<Map<String, Value>>,
    pub weights: Weights,
    ends: Vec<u32>,
    files: Files,
    tokenizer: OnceCell<Tokenizer>,
}

impl Checkpoint {
    /// `id` is `demo:NAME`, a local directory, or a Hub id (`owner/name`, or a bare `name`).
    ///
    /// # Errors
    /// There is no such model, it can't be fetched, or a file of it is broken.
    pub fn open(id: &str, open: &Open) -> Result<Self> {
        let (files, revision) = locate(id, open)?;
        let config =
            files.json("config.json").map_err(|e| e.at(id))?.ok_or_else(|| no_config(id))?;
        let generation_config = files.json("generation_config.json").map_err(|e| e.at(id))?;
        let ends = ends(generation_config.as_ref(), &config).map_err(|e| e.at(id))?;
        let weights = Weights::open(&files).map_err(|e| e.at(id))?;
        let (id, tokenizer) = (id.to_owned(), OnceCell::new());
        Ok(Self { id, revision, config, generation_config, weights, ends, files, tokenizer })
    }

    /// The tokens at which generation ends: `eos_token_id` of generation_config.json, else of
    /// config.json.
    pub fn ends(&self) -> Vec<u32> {
        self.ends.clone()
    }

    /// Read once, and only where it is needed: a checkpoint may do without one.
    ///
    /// # Errors
    /// There is none, or it is broken.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        if let Some(tokenizer) = self.tokenizer.get() {
            return Ok(tokenizer);
        }
        let tokenizer = Tokenizer::open(&self.files).map_err(|e| e.at(&self.id))?;
        Ok(self.tokenizer.get_or_init(|| tokenizer))
    }
}

/// The tokens of `eos_token_id`.
///
/// # Errors
/// What is no token id.
fn ends(generation: Option<&Map<String, Value>>, config: &Map<String, Value>) -> Result<Vec<u32>> {
    let named = |config: &'_ Map<String, Value>| {
        config.get("eos_token_id").filter(|id| !id.is_null()).cloned()
    };
    let (file, named) = match (generation.and_then(named), named(config)) {
        (Some(ids), _) => ("generation_config.json", ids),
        (None, Some(ids)) => ("config.json", ids),
        (None, None) => return Ok(Vec::new()),
    };
    let id = |id: &Value| {
        let token = id.as_u64().and_then(|id| u32::try_from(id).ok());
        token.ok_or_else(|| {
            error!("{file}: eos_token_id must be a token id or an array of them, not {named}")
        })
    };
    match &named {
        Value::Array(ids) => ids.iter().map(id).collect(),
        one => Ok(vec![id(one)?]),
    }
}

/// The checkpoint's config alone: nothing heavy is fetched or read.
///
/// # Errors
/// As [`Checkpoint::open`].
pub fn config(id: &str, open: &Open) -> Result<Map<String, Value>> {
    let files = match place(id, open.never_a_directory)? {
        Place::Demo(name) => demo::files(name)?,
        Place::Directory(directory) => Files::of(&directory)?,
        Place::Hub => {
            let fetched = open.hub.fetch_config(id, open.revision.as_deref(), open.offline);
            Files::of(&fetched.map_err(|e| as_a_path(id, e))?)?
        }
    };
    files.json("config.json")?.ok_or_else(|| no_config(id))
}

fn no_config(id: &str) -> Error {
    error!("{id} has no config.json, so it is no model")
        .help("a model is a directory in the Hub's layout: config.json, weights, and the tokenizer's files")
}

fn locate(id: &str, open: &Open) -> Result<(Files, Option<String>)> {
    match place(id, open.never_a_directory)? {
        Place::Hub => {
            let snapshot = open
                .hub
                .fetch(id, open.revision.as_deref(), open.offline)
                .map_err(|e| as_a_path(id, e))?;
            Ok((Files::of(&snapshot.directory)?, Some(snapshot.commit)))
        }
        _ if open.revision.is_some() => {
            bail!("{id} is not on the Hub, so it has no revisions: leave out the revision")
        }
        Place::Demo(name) => Ok((demo::files(name)?, None)),
        Place::Directory(directory) => Ok((Files::of(&directory)?, None)),
    }
}

/// The id itself, and of a directory the one path that all others to it lead to.
pub fn place_of(id: &str) -> String {
    match place(id, false) {
        Ok(Place::Directory(directory)) => directory
            .canonicalize()
            .map_or_else(|_| id.to_owned(), |path| path.display().to_string()),
        _ => id.to_owned(),
    }
}

enum Place<'a> {
    Demo(&'a str),
    Directory(PathBuf),
    Hub,
}

fn place(id: &str, never_a_directory: bool) -> Result<Place<'_>> {
    if let Some(name) = id.strip_prefix("demo:") {
        return Ok(Place::Demo(name));
    }
    if never_a_directory && is_hub_id(id) {
        return Ok(Place::Hub);
    }
    let path = Path::new(id);
    if path.is_dir() {
        return Ok(Place::Directory(path.to_owned()));
    }
    if path.exists() {
        return Err(error!(
            "{id} is a file: a model is a directory with config.json, weights and tokenizer"
        ));
    }
    if is_hub_id(id) {
        return Ok(Place::Hub);
    }
    let error = error!("there is no directory {id:?}{}, and it is no Hub id", as_far_as(path));
    Err(error.help(match id.starts_with('~') {
        true => "a shell puts your home directory in the place of ~: write it out",
        false => {
            "a model is demo:opt, demo:gpt-neox, a directory, or owner/name on the Hugging Face Hub"
        }
    }))
}

/// Of a path that is not there, the part that is, and what is missing in it.
fn as_far_as(path: &Path) -> String {
    let there = path.ancestors().skip(1).find(|part| !part.as_os_str().is_empty() && part.is_dir());
    match there.and_then(|there| Some((there, path.strip_prefix(there).ok()?.components().next()?)))
    {
        Some((there, missing)) => {
            format!(" ({} has no {})", there.display(), missing.as_os_str().display())
        }
        None => String::new(),
    }
}

/// What the Hub says of an id that may well be meant for a path: that there is none comes first.
fn as_a_path(id: &str, error: Error) -> Error {
    let missing = as_far_as(Path::new(id));
    if missing.is_empty() || error.is_interrupted() {
        return error;
    }
    let said = error!(
        "there is no directory {id:?}{missing}, and as a model of the Hub: {}",
        error.message()
    );
    match error.help_text() {
        Some(help) => said.help(help),
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_model_is_not_opened() {
        assert!(Checkpoint::open("./nowhere", &Open::default()).is_err());
        assert!(Checkpoint::open("demo:nothing", &Open::default()).is_err());
    }
}
