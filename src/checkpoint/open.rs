//! Opens a checkpoint: a model's config, weights and tokenizer.

use std::cell::OnceCell;
use std::path::Path;

use serde_json::{Map, Value};

use super::demo;
use super::files::Files;
use super::gguf;
use super::gguf::Gguf;
use super::hub::settings::Hub;
use super::location::{Location, maybe_a_path};
use super::tokenizer::Tokenizer;
use super::weights::{ADAPTER_CONFIG, Weights};
use crate::system::file::FileKind;
use crate::system::message::{notice, notice_once};
use crate::{Error, Result, bail, error};

/// How a checkpoint is opened.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// A branch, tag or commit of a Hub repository; `main` if absent.
    pub revision: Option<String>,
    /// Fetch nothing: use only what is embedded, on disk or in the Hub's cache.
    pub offline: bool,
    /// An id that may be a Hub id names a repository on the Hub, even if there is a directory of
    /// that name. For ids in scripts of strangers, which must not read the user's directories.
    pub hub_id_only: bool,
    /// Which Hub, and where its files are kept.
    pub hub: Hub,
}

/// A model's files: config, weights and tokenizer. A weight is read when it is asked for.
pub struct Checkpoint {
    /// The id as it was given: `demo:opt`, a directory, `facebook/opt-125m`.
    pub id: String,
    /// The [canonical id](super::canonical_id) of the files that were opened.
    pub canonical_id: String,
    /// The commit, if the checkpoint is from the Hub.
    pub revision: Option<String>,
    /// config.json
    pub config: Map<String, Value>,
    /// generation_config.json, if there is one.
    pub generation_config: Option<Map<String, Value>>,
    /// The weights by name.
    pub weights: Weights,
    eos_token_ids: Vec<u32>,
    pub(super) files: Files,
    tokenizer: OnceCell<Tokenizer>,
}

impl Checkpoint {
    /// Opens the checkpoint `id`: `demo:NAME`, a local directory, or a Hub id (`owner/name`, or a
    /// bare `name`).
    ///
    /// # Errors
    /// There is no such model, it can't be fetched, or one of its files is broken.
    pub fn open(id: &str, options: &OpenOptions) -> Result<Self> {
        Self::judged(id, options, |_| Ok(()))
    }

    /// As [`open`](Self::open), but `judge` is asked of the config before anything else is fetched or
    /// read.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) and of `judge`.
    pub fn judged(id: &str, options: &OpenOptions, judge: Judge) -> Result<Self> {
        let Located { files, canonical_id, revision, gguf } = locate(id, options, judge)?;
        let config = config_of(&files, id)?;
        judge(&config).map_err(|e| e.at(id))?;
        if files.contains(ADAPTER_CONFIG) {
            notice(format_args!(
                "warning: {id} has an adapter beside the model, which is not applied: \
                 model({id:?}).with_adapter({id:?}) applies it"
            ));
        }
        let generation_config = files.json("generation_config.json").map_err(|e| e.at(id))?;
        let eos_token_ids =
            eos_token_ids(generation_config.as_ref(), &config).map_err(|e| e.at(id))?;
        let weights = match gguf {
            Some(gguf) => Weights::of_gguf(gguf),
            None => Weights::open(&files).map_err(|e| e.at(id))?,
        };
        Ok(Self {
            id: id.to_owned(),
            canonical_id,
            revision,
            config,
            generation_config,
            weights,
            eos_token_ids,
            files,
            tokenizer: OnceCell::new(),
        })
    }

    /// The tokens at which generation ends: `eos_token_id` of generation_config.json, or of
    /// config.json if the former has none.
    pub fn eos_token_ids(&self) -> Vec<u32> {
        self.eos_token_ids.clone()
    }

    /// The tokenizer, read on the first call: a checkpoint need not have one.
    ///
    /// # Errors
    /// There is none, or it is broken.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        if let Some(tokenizer) = self.tokenizer.get() {
            return Ok(tokenizer);
        }
        let tokenizer =
            Tokenizer::open(&self.files).map_err(|e| self.maybe_not_fetched(e).at(&self.id))?;
        for warning in tokenizer.warnings() {
            notice_once(format_args!("warning: {}: {warning}", self.id));
        }
        Ok(self.tokenizer.get_or_init(|| tokenizer))
    }
}

impl Checkpoint {
    /// Adds to the error of a model from the Hub without a tokenizer that it may not have been
    /// fetched: a part of the repository is enough for a run that is offline.
    fn maybe_not_fetched(&self, error: Error) -> Error {
        match &self.revision {
            Some(_) if !Tokenizer::is_among(&self.files) => {
                error.help("if its repository on the Hub has one, run once online to fetch it")
            }
            _ => error,
        }
    }
}

/// The token ids in `eos_token_id`, which may be a number or an array.
///
/// # Errors
/// It is something else.
fn eos_token_ids(
    generation: Option<&Map<String, Value>>,
    config: &Map<String, Value>,
) -> Result<Vec<u32>> {
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

/// The checkpoint's config.json. Nothing else is fetched or read.
///
/// # Errors
/// There is no such model, it can't be fetched, or config.json is missing or no JSON map.
pub fn config(id: &str, options: &OpenOptions) -> Result<Map<String, Value>> {
    let location = Location::of(id, options.hub_id_only)?;
    let files = match location {
        Location::Demo(name) => demo::files(name)?,
        Location::Directory(directory) => local(&directory)?.files,
        Location::File(..) | Location::HubFile(..) => locate(id, options, |_| Ok(()))?.files,
        Location::Hub => {
            let OpenOptions { hub, revision, offline, .. } = options;
            let fetched = hub.fetch_config(id, revision.as_deref(), *offline);
            Files::of(&fetched.map_err(|e| maybe_a_path(id, e))?)?
        }
    };
    config_of(&files, id)
}

/// Says of a config whether its model can be loaded.
pub type Judge = fn(&Map<String, Value>) -> Result<()>;

/// config.json
///
/// # Errors
/// There is none, or it is broken.
fn config_of(files: &Files, id: &str) -> Result<Map<String, Value>> {
    if let Some(config) = files.json("config.json").map_err(|e| e.at(id))? {
        return Ok(config);
    }
    let Some(adapter) = files.json(ADAPTER_CONFIG).map_err(|e| e.at(id))? else {
        return Err(error!("{id} has no config.json, so it is no model").help(
            "a model is a directory in the Hub's layout: config.json, weights, and the tokenizer's files",
        ));
    };
    let base = adapter.get("base_model_name_or_path").and_then(Value::as_str);
    let base = base.filter(|base| !base.is_empty()).unwrap_or("BASE");
    Err(error!("{id} is an adapter, and no model: it has {ADAPTER_CONFIG} and no config.json")
        .help(format!(
            "model({base:?}).with_adapter({id:?}) applies it to the model that it was made for"
        )))
}

/// A checkpoint's files, before anything is read.
struct Located {
    files: Files,
    canonical_id: String,
    revision: Option<String>,
    /// The weights of a GGUF file.
    gguf: Option<Gguf>,
}

fn locate(id: &str, options: &OpenOptions, judge: Judge) -> Result<Located> {
    let OpenOptions { hub, revision, offline, hub_id_only } = options;
    let location = Location::of(id, *hub_id_only)?;
    if revision.is_some() && !matches!(location, Location::Hub | Location::HubFile(..)) {
        bail!("{id} is not on the Hub, so it has no revisions: leave out the revision");
    }
    match location {
        Location::Hub => {
            // The config is judged before any weight is fetched.
            let of_config = |directory: &Path| {
                let config = Files::of(directory)?.json("config.json")?;
                config.map_or(Ok(()), |config| judge(&config))
            };
            let fetched = hub.fetch(id, revision.as_deref(), *offline, of_config);
            let snapshot = fetched.map_err(|e| maybe_a_path(id, e))?;
            let files = Files::of(&snapshot.directory)?;
            let (canonical_id, revision) = (id.to_owned(), Some(snapshot.commit));
            Ok(Located { files, canonical_id, revision, gguf: None })
        }
        Location::HubFile(repository, file) => {
            let parts: Vec<String> =
                [file.to_owned()].into_iter().chain(gguf::parts_after(file)).collect();
            let most = FileKind::Data.max_bytes();
            let snapshot = hub.fetch_named(
                repository,
                revision.as_deref(),
                *offline,
                file,
                most,
                |fetch, _| parts.iter().try_for_each(|part| fetch(part).map(|_| ())),
            )?;
            let path = snapshot.directory.join(file);
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let directory = path.parent().unwrap_or(&snapshot.directory);
            let located = in_file(directory, name)?;
            Ok(Located { canonical_id: id.to_owned(), revision: Some(snapshot.commit), ..located })
        }
        Location::File(directory, name) => in_file(&directory, &name),
        Location::Demo(name) => {
            let (files, canonical_id) = (demo::files(name)?, id.to_owned());
            Ok(Located { files, canonical_id, revision: None, gguf: None })
        }
        Location::Directory(directory) => local(&directory),
    }
}

/// The files of a local directory. They are opened by the canonical path, so that a link that is
/// changed meanwhile can't make the canonical id name other files.
fn local(directory: &Path) -> Result<Located> {
    let canonical = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let files = Files::of_named(&canonical, directory)?;
    if !files.contains("config.json")
        && let Files::Directory(held) = &files
    {
        let names = held.names().unwrap_or_default();
        let names = names.iter().filter_map(|name| name.to_str().map(str::to_owned));
        match gguf::models_in(names).as_slice() {
            [] => {}
            [name] => return in_file(&canonical, name),
            several => {
                return Err(error!(
                    "{} has {} GGUF files: {}",
                    directory.display(),
                    several.len(),
                    several.join(", ")
                )
                .help("give the path of one of them"));
            }
        }
    }
    let canonical_id = canonical.display().to_string();
    Ok(Located { files, canonical_id, revision: None, gguf: None })
}

/// The model of a GGUF file.
fn in_file(directory: &Path, name: &str) -> Result<Located> {
    let gguf::Opened { files, weights } = gguf::open(directory, name)?;
    let canonical_id = directory.join(name).display().to_string();
    Ok(Located { files, canonical_id, revision: None, gguf: Some(weights) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_model_is_not_opened() {
        assert!(Checkpoint::open("./nowhere", &OpenOptions::default()).is_err());
        assert!(Checkpoint::open("demo:nothing", &OpenOptions::default()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_directory_has_the_canonical_id_of_the_directory() {
        let home = tempfile::tempdir().unwrap();
        let (directory, link) = (home.path().join("model"), home.path().join("link"));
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/checkpoint/demo/opt");
        std::os::unix::fs::symlink(&demo, &directory).unwrap();
        std::os::unix::fs::symlink("model", &link).unwrap();
        let id = |path: &Path| {
            let opened = Checkpoint::open(path.to_str().unwrap(), &OpenOptions::default()).unwrap();
            assert_eq!(opened.canonical_id, super::super::canonical_id(&opened.id));
            opened.canonical_id
        };
        assert_eq!(id(&link), id(&demo));
        assert_eq!(id(&link), demo.canonicalize().unwrap().to_str().unwrap());
    }
}
