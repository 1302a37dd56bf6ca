//! The Hub's cache on disk, in the Python client's layout:
//! `models--OWNER--NAME/{refs/REVISION, snapshots/COMMIT/FILE -> blobs/HASH}`, and
//! `.locks/models--OWNER--NAME/HASH.lock`.

use std::fs::{File, TryLockError};
use std::io::{Error as IoError, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use super::names::{check_path, is_commit, is_hub_id, is_revision};
use super::settings::Hub;
use crate::checkpoint::files::Files;
use crate::checkpoint::weights::files_of;
use crate::system::file::{Kind, in_words};
use crate::system::{file, interrupt, lock_holder};
use crate::{Error, Result, bail, error};

/// How long another process may hold a file that is wanted.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// The files of one commit, as a directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub directory: PathBuf,
    pub commit: String,
}

/// The files of one repository, to be written. Its directory is held open: nothing that a server
/// says, and no link that stands in it, leads what is written or deleted elsewhere.
pub struct Repository {
    path: PathBuf,
    held: Dir,
}

/// Keeps other processes, Python's too, from writing the same blob until it is dropped.
pub struct Lock {
    _file: File,
}

impl Repository {
    /// The repository's place in the cache, which is made if it is not there.
    ///
    /// # Errors
    /// `id` is none, or the cache can't be written to.
    pub fn open(cache: &Path, id: &str) -> Result<Self> {
        let path = place(cache, id).ok_or_else(|| error!("{id:?} is no Hub id"))?;
        let cannot = |e: IoError| unwritten(path.display(), &e);
        std::fs::create_dir_all(path.join("blobs")).map_err(cannot)?;
        let held = Dir::open_ambient_dir(&path, ambient_authority()).map_err(cannot)?;
        Ok(Self { path, held })
    }

    /// Where a commit's files are.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.path.join("snapshots").join(commit)
    }

    /// The path of a file of a commit, where it is here.
    ///
    /// # Errors
    /// Something that is no file stands in its place, or a link that leads out of the repository.
    pub fn file(&self, commit: &str, name: &str) -> Result<Option<PathBuf>> {
        let inside = Path::new("snapshots").join(commit).join(name);
        let path = self.path.join(&inside);
        let misplaced = |what: &str| {
            error!("{} {what}, where the cache keeps a file", path.display())
                .help("nothing that fetches models puts that there: delete it")
        };
        match self.held.metadata(&inside) {
            Ok(found) if found.is_file() => Ok(Some(path)),
            Ok(_) => Err(misplaced("is a directory, a pipe or a device")),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e)
                if e.kind() == ErrorKind::PermissionDenied
                    && self.held.read_link_contents(&inside).is_ok() =>
            {
                Err(misplaced("is a link that leads out of the cache"))
            }
            Err(e) => bail!("{} can't be read: {}", path.display(), words(&e)),
        }
    }

    /// A blob, open for reading; nothing where there is none.
    ///
    /// # Errors
    /// Something that is no file stands in its place.
    pub fn blob(&self, blob: &str) -> Result<Option<File>> {
        if !self.is_file(blob)? {
            return Ok(None);
        }
        let file = self
            .held
            .open(inside(blob))
            .map_err(|e| error!("{} can't be read: {}", self.shown(blob), words(&e)))?;
        Ok(Some(file.into_std()))
    }

    /// What has come of a blob, open to be read and written on.
    ///
    /// # Errors
    /// Something that is no file stands in its place, or it can't be written.
    pub fn partial(&self, blob: &str) -> Result<File> {
        let name = partial(blob);
        self.is_file(&name)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = self.held.open_with(inside(&name), &options);
        Ok(file.map_err(|e| unwritten(self.shown(&name), &e))?.into_std())
    }

    /// Gives what has come of a blob its final name, `kept`, as which it is taken for the whole.
    ///
    /// # Errors
    /// The disk's own.
    pub fn keep(&self, blob: &str, kept: &str) -> Result<()> {
        let renamed = self.held.rename(inside(&partial(blob)), &self.held, inside(kept));
        renamed.map_err(|e| unwritten(self.shown(kept), &e))
    }

    /// Deletes a blob, or with `partial` what has come of it.
    ///
    /// # Errors
    /// The disk's own.
    pub fn discard(&self, blob: &str, is_partial: bool) -> Result<()> {
        let name = if is_partial { partial(blob) } else { blob.to_owned() };
        match self.held.remove_file(inside(&name)) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(unwritten(self.shown(&name), &e)),
            _ => Ok(()),
        }
    }

    /// Puts a blob under its name in a commit. Gives its path.
    ///
    /// # Errors
    /// A name that leads elsewhere, or the disk's own.
    pub fn link(&self, commit: &str, name: &str, blob: &str) -> Result<PathBuf> {
        check_path(name).map_err(|e| e.at(format_args!("{name:?}")))?;
        let folder = Path::new("snapshots").join(commit);
        let (link, path) = (folder.join(name), self.path.join(&folder).join(name));
        let cannot = |e: IoError| unwritten(path.display(), &e);
        if let Some(parent) = link.parent() {
            self.held.create_dir_all(parent).map_err(cannot)?;
        }
        match self.held.remove_file(&link) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(cannot(e)),
            _ => {}
        }
        #[cfg(unix)]
        {
            // Up from the file's own folder to the repository's.
            let up: PathBuf = std::iter::repeat_n("..", link.components().count() - 1).collect();
            match self.held.symlink(up.join("blobs").join(blob), &link) {
                Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(cannot(e)),
                _ => {}
            }
        }
        #[cfg(not(unix))]
        self.held.copy(inside(blob), &self.held, &link).map_err(cannot)?;
        Ok(path)
    }

    /// Notes which commit a branch or tag stood for.
    ///
    /// # Errors
    /// The disk's own.
    pub fn remember(&self, revision: &str, commit: &str) -> Result<()> {
        if is_commit(revision) {
            return Ok(());
        }
        let path = Path::new("refs").join(revision);
        // A cache that is there to be read only is left alone.
        if file::read_text(&self.path.join(&path), Kind::Lock)
            .is_ok_and(|known| known.trim() == commit)
        {
            return Ok(());
        }
        let written = || {
            if let Some(parent) = path.parent() {
                self.held.create_dir_all(parent)?;
            }
            // Whole or not at all, and in place of whatever stands there.
            let new = format!(".ref-{}", std::process::id());
            let _ = self.held.remove_file(&new);
            let mut file =
                self.held.open_with(&new, OpenOptions::new().write(true).create_new(true))?;
            file.write_all(commit.as_bytes())?;
            self.held.rename(&new, &self.held, &path)
        };
        written().map_err(|e| unwritten(self.path.join(&path).display(), &e))
    }

    /// Waits a while for the right to write a blob of the file `name`.
    ///
    /// # Errors
    /// Another process has it and keeps it, the work is to end, or the disk's own.
    pub fn lock(&self, blob: &str, name: &str) -> Result<Lock> {
        let folder = Path::new(".locks").join(self.path.file_name().unwrap_or_default());
        let lock = folder.join(format!("{blob}.lock"));
        let (cache, path) =
            (self.path.parent().unwrap_or(Path::new(".")), self.path.with_file_name(&lock));
        let cannot = |e: IoError| unwritten(path.display(), &e);
        let cache = Dir::open_ambient_dir(cache, ambient_authority()).map_err(cannot)?;
        cache.create_dir_all(&folder).map_err(cannot)?;
        if cache.symlink_metadata(&lock).is_ok_and(|found| !found.is_file()) {
            return Err(no_file(path.display()));
        }
        let file =
            cache.open_with(&lock, OpenOptions::new().write(true).create(true)).map_err(cannot)?;
        let (file, begun) = (file.into_std(), Instant::now());
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::Error(e)) => return Err(cannot(e)),
                Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {
                    interrupt::check()?;
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(TryLockError::WouldBlock) => {
                    let who =
                        lock_holder::of(&file).map(|who| format!(", {who},")).unwrap_or_default();
                    return Err(error!("another process{who} is fetching {name}")
                        .help("wait until it is done, or end it"));
                }
            }
        }
    }

    /// Whether a file stands there.
    fn is_file(&self, name: &str) -> Result<bool> {
        match self.held.symlink_metadata(inside(name)) {
            Ok(found) if found.is_file() => Ok(true),
            Ok(_) => Err(no_file(self.shown(name))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(error!("{} can't be read: {}", self.shown(name), words(&e))),
        }
    }

    fn shown(&self, name: &str) -> String {
        self.path.join(inside(name)).display().to_string()
    }
}

/// A blob's place in its repository.
fn inside(name: &str) -> PathBuf {
    Path::new("blobs").join(name)
}

fn partial(blob: &str) -> String {
    format!("{blob}.incomplete")
}

fn no_file(path: impl std::fmt::Display) -> Error {
    error!("{path} is a link, a directory, a pipe or a device, where the cache keeps a file")
        .help("nothing that fetches models puts that there: delete it")
}

/// Why something was not written to the cache.
pub(crate) fn unwritten(what: impl std::fmt::Display, e: &IoError) -> Error {
    match e.kind() {
        ErrorKind::StorageFull => error!("{what} can't be kept: the disk is full"),
        _ => error!("{what} can't be written to the cache: {}", words(e)),
    }
}

/// What the system says, and what the held directory says of a path that a link leads out of it.
fn words(e: &IoError) -> String {
    let leads_out = e.kind() == ErrorKind::PermissionDenied && e.raw_os_error().is_none();
    if leads_out { "a link on the way leads out of the cache".into() } else { in_words(e) }
}

/// Where a repository's files are kept; nothing where `id` is no id.
fn place(cache: &Path, id: &str) -> Option<PathBuf> {
    is_hub_id(id).then(|| cache.join(format!("models--{}", id.replace('/', "--"))))
}

/// The snapshot of a revision, if any of it is here.
pub fn find(cache: &Path, id: &str, revision: &str) -> Option<Snapshot> {
    let repository = place(cache, id).filter(|_| is_revision(revision))?;
    let commit = if is_commit(revision) {
        revision.to_owned()
    } else {
        file::read_text(&repository.join("refs").join(revision), Kind::Lock).ok()?.trim().to_owned()
    };
    if !is_commit(&commit) {
        return None;
    }
    let directory = repository.join("snapshots").join(&commit);
    directory.is_dir().then_some(Snapshot { directory, commit })
}

/// Whether a snapshot has a config and all of its weights.
pub fn is_whole(snapshot: &Path) -> bool {
    let Ok(files) = Files::of(snapshot) else { return false };
    files.contains("config.json")
        && matches!(files_of(&files), Ok(names) if names.iter().all(|name| files.contains(name)))
}

/// Every model in the cache, by name.
pub fn list(hub: &Hub) -> Vec<Cached> {
    let mut models: Vec<Cached> = subdirectories(&hub.cache())
        .into_iter()
        .filter_map(|path| {
            let id = path.file_name()?.to_str()?.strip_prefix("models--")?.replace("--", "/");
            let snapshots = subdirectories(&path.join("snapshots"));
            let family = snapshots.iter().find_map(|snapshot| {
                let config = file::read(&snapshot.join("config.json"), Kind::Config).ok()?;
                let config: serde_json::Value = serde_json::from_slice(&config).ok()?;
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

pub(crate) fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir())
        .collect()
}
