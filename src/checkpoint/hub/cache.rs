//! What the Hub's cache on disk has, in the layout of the Python client:
//! `models--OWNER--NAME/{refs/REVISION, snapshots/COMMIT/FILE -> blobs/HASH}`. Reading only; see
//! `repository` for writing.

use std::path::{Path, PathBuf};

use hf_hub::{Cache as HubCache, Repo};

use super::settings::Hub;
use super::validate::{checked_revision, dataset_name, is_commit, is_hub_id, is_revision};
use crate::checkpoint::files::Files;
use crate::checkpoint::weights::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, weight_files};
use crate::system::file;
use crate::system::file::FileKind;
use crate::{Result, error};

/// A model in the cache.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedModel {
    /// The id on the Hub: `owner/name`, or a bare `name`.
    pub id: String,
    /// The commits that have at least one file in the cache, in alphabetical order.
    pub revisions: Vec<String>,
    /// The size of all its files in bytes, each counted once.
    pub bytes: u64,
    /// `model_type` of its config.json, if that file is in the cache.
    pub family: Option<String>,
}

/// The files of one commit, as a directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The directory that holds a link to each file.
    pub directory: PathBuf,
    /// The commit: 40 hexadecimal digits.
    pub commit: String,
}

/// The repository of a model or a data set; nothing if `id` is no Hub id.
fn repo(id: &str) -> Option<Repo> {
    match dataset_name(id) {
        Some(name) => Some(Repo::dataset(name.to_owned())),
        None => is_hub_id(id).then(|| Repo::model(id.to_owned())),
    }
}

/// The directory of a repository within the cache, or nothing if `id` is no Hub id.
pub(super) fn repository_dir(cache: &Path, id: &str) -> Option<PathBuf> {
    Some(cache.join(repo(id)?.folder_name()))
}

/// The snapshot of a revision, if at least one of its files is in the cache.
pub fn find_snapshot(cache: &Path, id: &str, revision: &str) -> Option<Snapshot> {
    let repository = repository_dir(cache, id).filter(|_| is_revision(revision))?;
    let commit = if is_commit(revision) {
        revision.to_owned()
    } else {
        let reference = repository.join("refs").join(revision);
        file::read_text(&reference, FileKind::Lock).ok()?.trim().to_owned()
    };
    if !is_commit(&commit) {
        return None;
    }
    let directory = HubCache::new(cache.to_owned()).repo(repo(id)?).pointer_path(&commit);
    directory.is_dir().then_some(Snapshot { directory, commit })
}

/// The snapshot of a revision in the cache, for a run that fetches nothing. `serves` tells whether
/// a directory has all the files that are needed, `because` why nothing is fetched.
///
/// # Errors
/// The cache does not have it, or has only a part of it.
pub fn snapshot(
    hub: &Hub,
    id: &str,
    revision: Option<&str>,
    serves: impl Fn(&Path) -> bool,
    because: &str,
) -> Result<Snapshot> {
    let (cache, revision) = (hub.cache_dir(), checked_revision(revision)?);
    let (part, place) = match find_snapshot(&cache, id, revision) {
        Some(snapshot) if serves(&snapshot.directory) => return Ok(snapshot),
        Some(_) => ("only a part of ", "is in the cache"),
        None => ("", "is not in the cache"),
    };
    let of_revision =
        if revision == "main" { String::new() } else { format!(" at revision {revision:?}") };
    Err(error!("{part}{id}{of_revision} {place} {}, and {because}", cache.display()))
}

/// Whether a snapshot has a config and all of its weight files.
pub fn is_complete(snapshot: &Path) -> bool {
    let Ok(files) = Files::of(snapshot) else { return false };
    files.contains("config.json")
        && matches!(weight_files(&files), Ok(names) if names.iter().all(|name| files.contains(name)))
}

/// Whether a snapshot has an adapter's config and tensors.
pub fn is_adapter(snapshot: &Path) -> bool {
    let Ok(files) = Files::of(snapshot) else { return false };
    files.contains(ADAPTER_CONFIG) && ADAPTER_WEIGHTS.iter().any(|name| files.contains(name))
}

/// Every model in the cache, sorted by id.
pub fn list_models(hub: &Hub) -> Vec<CachedModel> {
    let mut models: Vec<CachedModel> =
        subdirectories(&hub.cache_dir()).iter().filter_map(|path| model(path)).collect();
    models.sort_by(|a, b| a.id.cmp(&b.id));
    models
}

/// The model in a repository's directory; nothing if it is no model or has no snapshot.
fn model(path: &Path) -> Option<CachedModel> {
    let id = path.file_name()?.to_str()?.strip_prefix("models--")?.replace("--", "/");
    let snapshots = subdirectories(&path.join("snapshots"));
    let family = snapshots.iter().find_map(|snapshot| {
        let config = file::read(&snapshot.join("config.json"), FileKind::Config).ok()?;
        let config: serde_json::Value = serde_json::from_slice(&config).ok()?;
        Some(config.get("model_type")?.as_str()?.to_owned())
    });
    let bytes = std::fs::read_dir(path.join("blobs"))
        .map(|blobs| blobs.filter_map(|blob| Some(blob.ok()?.metadata().ok()?.len())).sum())
        .unwrap_or(0);
    let commit = |path: &PathBuf| path.file_name()?.to_str().map(str::to_owned);
    let mut revisions: Vec<String> = snapshots.iter().filter_map(commit).collect();
    revisions.sort();
    (!revisions.is_empty()).then_some(CachedModel { id, revisions, bytes, family })
}

/// The directories in a directory; none if it can't be read.
pub(super) fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir())
        .collect()
}
