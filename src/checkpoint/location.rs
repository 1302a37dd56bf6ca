//! What the id of a model names: a model inside the binary, a local directory, or a repository on
//! the Hub.

use std::path::{Path, PathBuf};

use super::gguf;
use super::hub::validate::{check_path, is_hub_id};
use crate::{Error, Result, error};

/// Where a model's files are.
pub(super) enum Location<'a> {
    /// `demo:NAME`, inside the binary.
    Demo(&'a str),
    /// A local directory.
    Directory(PathBuf),
    /// A GGUF file: its directory and its name there.
    File(PathBuf, String),
    /// A repository on the Hub.
    Hub,
    /// A GGUF file of a repository on the Hub: `owner/name/FILE.gguf`.
    HubFile(&'a str, &'a str),
}

impl<'a> Location<'a> {
    /// Where the files of `id` are. A directory of that name comes before the Hub, unless
    /// `hub_id_only` is set and `id` may be a Hub id.
    ///
    /// # Errors
    /// `id` is a file, or neither a directory nor a Hub id.
    pub(super) fn of(id: &'a str, hub_id_only: bool) -> Result<Self> {
        if let Some(name) = id.strip_prefix("demo:") {
            return Ok(Location::Demo(name));
        }
        if hub_id_only && is_hub_id(id) {
            return Ok(Location::Hub);
        }
        let on_hub = hub_file(id).map(|(id, file)| Location::HubFile(id, file));
        if hub_id_only && let Some(location) = on_hub {
            return Ok(location);
        }
        let path = Path::new(id);
        if path.is_dir() {
            return Ok(Location::Directory(path.to_owned()));
        }
        if path.is_file() && id.ends_with(gguf::ENDING) {
            let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
            let name = path.file_name().and_then(|name| name.to_str());
            let (Some(directory), Some(name)) = (path.parent(), name) else {
                return Err(error!("{id} has a name that is no text"));
            };
            return Ok(Location::File(directory.to_owned(), name.to_owned()));
        }
        if path.exists() {
            return Err(error!(
                "{id} is a file: a model is a GGUF file, or a directory with config.json, weights and tokenizer"
            ));
        }
        if let Some((id, file)) = hub_file(id) {
            return Ok(Location::HubFile(id, file));
        }
        if is_hub_id(id) {
            return Ok(Location::Hub);
        }
        let error =
            error!("there is no directory {id:?}{}, and it is no Hub id", missing_part(path));
        Err(error.help(match id.starts_with('~') {
            true => "a shell puts your home directory in the place of ~: write it out",
            false => {
                "a model is demo:opt, demo:gpt-neox, a directory, a GGUF file, or owner/name or owner/name/FILE.gguf on the \
                 Hugging Face Hub"
            }
        }))
    }
}

/// The repository and the file of `owner/name/FILE.gguf`.
fn hub_file(id: &str) -> Option<(&str, &str)> {
    let (at, _) = id.match_indices('/').nth(1)?;
    let (repository, file) = (&id[..at], &id[at + 1..]);
    let fits = is_hub_id(repository) && file.ends_with(gguf::ENDING) && check_path(file).is_ok();
    fits.then_some((repository, file))
}

/// The id itself, or for a directory its canonical path: two ids of the same local model have the
/// same canonical id.
pub fn canonical_id(id: &str) -> String {
    match Location::of(id, false) {
        Ok(Location::Directory(directory)) => directory
            .canonicalize()
            .map_or_else(|_| id.to_owned(), |path| path.display().to_string()),
        Ok(Location::File(directory, name)) => directory.join(name).display().to_string(),
        _ => id.to_owned(),
    }
}

/// For a path that does not exist: ` (EXISTING has no MISSING)`, the longest part that exists and
/// the first that is missing. Empty if no part of it exists.
fn missing_part(path: &Path) -> String {
    let existing =
        path.ancestors().skip(1).find(|part| !part.as_os_str().is_empty() && part.is_dir());
    let parts = existing.and_then(|existing| {
        Some((existing, path.strip_prefix(existing).ok()?.components().next()?))
    });
    match parts {
        Some((existing, missing)) => {
            let existing = match existing.to_str() {
                Some(".") => "the working directory".into(),
                _ => existing.display().to_string(),
            };
            format!(" ({existing} has no {})", missing.as_os_str().display())
        }
        None => String::new(),
    }
}

/// Adds to the Hub's error that there is no such directory either, if `id` looks like a path whose
/// first part exists.
pub(super) fn maybe_a_path(id: &str, error: Error) -> Error {
    let missing = missing_part(Path::new(id));
    if missing.is_empty() || error.is_interrupted() {
        return error;
    }
    let both = error!(
        "there is no directory {id:?}{missing}, and as a model of the Hub: {}",
        error.message()
    );
    match error.help_text() {
        Some(help) => both.help(help),
        None => both,
    }
}
