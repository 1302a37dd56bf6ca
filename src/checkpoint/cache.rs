//! The Hub's cache on disk, in the Python client's layout:
//! `models--OWNER--NAME/{refs/REVISION, snapshots/COMMIT/FILE -> blobs/ETAG}`.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::files::Files;
use super::hub::{Hub, Snapshot};
use super::weights::files_of;

/// A Hub model that is on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Cached {
    pub id: String,
    /// The commits of which something is here.
    pub revisions: Vec<String>,
    pub bytes: u64,
    /// `model_type` of its config.json, where that is here.
    pub family: Option<String>,
}

/// Where a repository's files are kept.
pub fn repository(cache: &Path, id: &str) -> PathBuf {
    cache.join(format!("models--{}", id.replace('/', "--")))
}

/// A commit is 40 hexadecimal digits.
pub fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.chars().all(|c| c.is_ascii_hexdigit())
}

/// The snapshot of a revision, if any of it is here.
pub fn find(cache: &Path, id: &str, revision: &str) -> Option<Snapshot> {
    let repository = repository(cache, id);
    let commit = if is_commit(revision) {
        revision.to_owned()
    } else {
        std::fs::read_to_string(repository.join("refs").join(revision)).ok()?.trim().to_owned()
    };
    let directory = repository.join("snapshots").join(&commit);
    (is_commit(&commit) && directory.is_dir()).then_some(Snapshot { directory, commit })
}

/// Notes which commit a branch or tag stood for.
pub fn remember(cache: &Path, id: &str, revision: &str, commit: &str) -> std::io::Result<()> {
    if is_commit(revision) {
        return Ok(());
    }
    let path = repository(cache, id).join("refs").join(revision);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, commit)
}

/// Whether a snapshot has a config and all of its weights.
pub fn is_whole(snapshot: &Path) -> bool {
    let files = Files::Directory(snapshot.to_owned());
    files.contains("config.json")
        && matches!(files_of(&files), Ok(names) if names.iter().all(|name| files.contains(name)))
}

/// The one large file of a repository whose download broke off, and how much of it is here. A large file is stored
/// under its SHA-256.
pub fn partial(repository: &Path) -> Option<(PathBuf, u64)> {
    let mut partial = std::fs::read_dir(repository.join("blobs")).ok()?.filter_map(|entry| {
        let path = entry.ok()?.path();
        let length = path.metadata().ok()?.len();
        let sha = path.file_name()?.to_str()?.strip_suffix(".incomplete")?;
        (length > 0 && sha.len() == 64 && sha.chars().all(|c| c.is_ascii_hexdigit())).then_some((path, length))
    });
    partial.next().filter(|_| partial.next().is_none())
}

/// Keeps other processes, Python's too, from writing the same blob until what is returned is dropped; nothing where one
/// is writing it.
///
/// # Errors
/// The disk's own.
pub fn lock(repository: &Path, partial: &Path) -> std::io::Result<Option<File>> {
    let (Some(cache), Some(folder), Some(etag)) = (repository.parent(), repository.file_name(), partial.file_stem())
    else {
        return Ok(None);
    };
    let locks = cache.join(".locks").join(folder);
    std::fs::create_dir_all(&locks)?;
    let file = File::create(locks.join(format!("{}.lock", etag.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// Every model in the cache, by name.
pub fn list(hub: &Hub) -> Vec<Cached> {
    let mut models: Vec<Cached> = subdirectories(&hub.cache())
        .into_iter()
        .filter_map(|path| {
            let id = path.file_name()?.to_str()?.strip_prefix("models--")?.replace("--", "/");
            let snapshots = subdirectories(&path.join("snapshots"));
            let family = snapshots.iter().find_map(|snapshot| {
                let config: serde_json::Value =
                    serde_json::from_slice(&std::fs::read(snapshot.join("config.json")).ok()?).ok()?;
                Some(config.get("model_type")?.as_str()?.to_owned())
            });
            let bytes = std::fs::read_dir(path.join("blobs"))
                .map(|blobs| blobs.filter_map(|blob| Some(blob.ok()?.metadata().ok()?.len())).sum())
                .unwrap_or(0);
            let commit = |path: &PathBuf| path.file_name()?.to_str().map(str::to_owned);
            let mut revisions: Vec<String> = snapshots.iter().filter_map(commit).collect();
            revisions.sort();
            (!revisions.is_empty()).then_some(Cached { id, revisions, bytes, family })
        })
        .collect();
    models.sort_by(|a, b| a.id.cmp(&b.id));
    models
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(|path| path.is_dir()).collect()
}
