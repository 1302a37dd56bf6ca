//! Writes the files of one repository into the Hub's cache.
//!
//! Contents are blobs named by their hash; a snapshot's files are links to them. A blob is written
//! as `HASH.incomplete` under the lock `.locks/models--OWNER--NAME/HASH.lock`, which Python's
//! client takes too, and gets its final name when it is complete.

use std::fmt::Display;
use std::fs::{File, TryLockError};
use std::io::{Error as IoError, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use super::cache::repository_dir;
use super::environment::Environment;
use super::validate::{check_path, is_commit};
use crate::system::directory::escapes_directory;
use crate::system::file::{FileKind, describe_io_error};
use crate::system::{file, interrupt, lock_holder};
use crate::{Error, Result, bail, error};

/// How long to wait for another process that holds the lock of a blob.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the lock is tried.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// A repository's directory in the cache, held open: neither a name that a server sends nor a link
/// inside the directory can lead a write or a deletion out of it.
pub struct CacheRepository {
    path: PathBuf,
    held: Dir,
}

/// Keeps other processes, Python's client included, from writing the same blob until it is dropped.
pub struct BlobLock {
    _file: File,
}

impl CacheRepository {
    /// Opens the repository's directory in the cache and creates it if it is missing.
    ///
    /// # Errors
    /// `id` is no Hub id, or the cache can't be written.
    pub fn open(cache: &Path, id: &str) -> Result<Self> {
        let path = repository_dir(cache, id).ok_or_else(|| error!("{id:?} is no Hub id"))?;
        let cannot = |e: IoError| not_written(path.display(), &e);
        std::fs::create_dir_all(path.join("blobs")).map_err(cannot)?;
        let held = Dir::open_ambient_dir(&path, ambient_authority()).map_err(cannot)?;
        Ok(Self { path, held })
    }

    /// The directory of a commit's files.
    pub fn snapshot_dir(&self, commit: &str) -> PathBuf {
        self.path.join("snapshots").join(commit)
    }

    /// The path of a commit's file, or nothing if it is not in the cache.
    ///
    /// # Errors
    /// A directory, a pipe or a device has its name, or a link of that name leads out of the
    /// repository.
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
            Err(e) => bail!("{} can't be read: {}", path.display(), describe(&e)),
        }
    }

    /// Opens a complete blob for reading; nothing if there is none.
    ///
    /// # Errors
    /// Something other than a file has its name, or it can't be opened.
    pub fn blob(&self, blob: &str) -> Result<Option<File>> {
        if !self.is_file(blob)? {
            return Ok(None);
        }
        let file = self
            .held
            .open(blob_path(blob))
            .map_err(|e| error!("{} can't be read: {}", self.shown(blob), describe(&e)))?;
        Ok(Some(file.into_std()))
    }

    /// Opens the incomplete file of a blob for reading and writing, and creates it if it is
    /// missing.
    ///
    /// # Errors
    /// Something other than a file has its name, or it can't be written.
    pub fn incomplete(&self, blob: &str) -> Result<File> {
        let name = incomplete_name(blob);
        self.is_file(&name)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = self.held.open_with(blob_path(&name), &options);
        Ok(file.map_err(|e| not_written(self.shown(&name), &e))?.into_std())
    }

    /// Renames the incomplete file of `blob` to the complete blob `hash`.
    ///
    /// # Errors
    /// The rename failed.
    pub fn complete(&self, blob: &str, hash: &str) -> Result<()> {
        let renamed =
            self.held.rename(blob_path(&incomplete_name(blob)), &self.held, blob_path(hash));
        renamed.map_err(|e| not_written(self.shown(hash), &e))
    }

    /// Deletes a complete blob, if it is there.
    ///
    /// # Errors
    /// It can't be deleted.
    pub fn delete_blob(&self, blob: &str) -> Result<()> {
        self.delete(blob)
    }

    /// Deletes the incomplete file of a blob, if it is there.
    ///
    /// # Errors
    /// It can't be deleted.
    pub fn delete_incomplete(&self, blob: &str) -> Result<()> {
        self.delete(&incomplete_name(blob))
    }

    fn delete(&self, name: &str) -> Result<()> {
        match self.held.remove_file(blob_path(name)) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(not_written(self.shown(name), &e)),
            _ => Ok(()),
        }
    }

    /// Links a blob as the file `name` of a commit, in place of an earlier link, or copies it where
    /// links are not to be made. Returns its path.
    ///
    /// # Errors
    /// `name` is no path inside a directory, or the link can't be made.
    pub fn link(&self, commit: &str, name: &str, blob: &str) -> Result<PathBuf> {
        check_path(name).map_err(|e| e.at(format_args!("{name:?}")))?;
        let folder = Path::new("snapshots").join(commit);
        let (link, path) = (folder.join(name), self.path.join(&folder).join(name));
        let cannot = |e: IoError| not_written(path.display(), &e);
        if let Some(parent) = link.parent() {
            self.held.create_dir_all(parent).map_err(cannot)?;
        }
        match self.held.remove_file(&link) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(cannot(e)),
            _ => {}
        }
        #[cfg(unix)]
        if Environment::process().links() {
            // The link is relative, so that the cache may be moved: from the link's directory up to
            // the repository's.
            let up: PathBuf = std::iter::repeat_n("..", link.components().count() - 1).collect();
            match self.held.symlink(up.join("blobs").join(blob), &link) {
                Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(cannot(e)),
                _ => return Ok(path),
            }
        }
        // The rename makes the copy appear whole.
        let part = format!(".copy-{}-{blob}", std::process::id());
        let copied = self.held.copy(blob_path(blob), &self.held, &part);
        let linked = copied.and_then(|_| self.held.rename(&part, &self.held, &link));
        linked.map(|()| path.clone()).map_err(|e| {
            // The disk may be full of it.
            let _ = self.held.remove_file(&part);
            cannot(e)
        })
    }

    /// Records in `refs/` which commit a branch or tag pointed to. A commit needs no record.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write_ref(&self, revision: &str, commit: &str) -> Result<()> {
        if is_commit(revision) {
            return Ok(());
        }
        let path = Path::new("refs").join(revision);
        // An unchanged record is not written again, so that a read-only cache can be used.
        if file::read_text(&self.path.join(&path), FileKind::Lock)
            .is_ok_and(|known| known.trim() == commit)
        {
            return Ok(());
        }
        let written = || {
            if let Some(parent) = path.parent() {
                self.held.create_dir_all(parent)?;
            }
            // The rename makes the record appear complete, and replaces a link or a file that is
            // there already.
            let new = format!(".ref-{}", std::process::id());
            let _ = self.held.remove_file(&new);
            let mut file =
                self.held.open_with(&new, OpenOptions::new().write(true).create_new(true))?;
            file.write_all(commit.as_bytes())?;
            self.held.rename(&new, &self.held, &path)
        };
        written().map_err(|e| not_written(self.path.join(&path).display(), &e))
    }

    /// Locks a blob against other processes, and waits up to [`LOCK_TIMEOUT`] for it. `name` is the
    /// file's name in the error message.
    ///
    /// # Errors
    /// Another process still holds the lock, the run was interrupted, or the lock file can't be
    /// written.
    pub fn lock(&self, blob: &str, name: &str) -> Result<BlobLock> {
        let folder = Path::new(".locks").join(self.path.file_name().unwrap_or_default());
        let lock = folder.join(format!("{blob}.lock"));
        let (cache, path) =
            (self.path.parent().unwrap_or(Path::new(".")), self.path.with_file_name(&lock));
        let cannot = |e: IoError| not_written(path.display(), &e);
        let cache = Dir::open_ambient_dir(cache, ambient_authority()).map_err(cannot)?;
        cache.create_dir_all(&folder).map_err(cannot)?;
        if cache.symlink_metadata(&lock).is_ok_and(|found| !found.is_file()) {
            return Err(not_a_file(path.display()));
        }
        let file =
            cache.open_with(&lock, OpenOptions::new().write(true).create(true)).map_err(cannot)?;
        let (file, begun) = (file.into_std(), Instant::now());
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(BlobLock { _file: file }),
                Err(TryLockError::Error(e)) => return Err(cannot(e)),
                Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_TIMEOUT => {
                    interrupt::check()?;
                    std::thread::sleep(LOCK_POLL);
                }
                Err(TryLockError::WouldBlock) => {
                    let holder = lock_holder::describe(&file)
                        .map(|holder| format!(", {holder},"))
                        .unwrap_or_default();
                    return Err(error!("another process{holder} is fetching {name}")
                        .help("wait until it is done, or end it"));
                }
            }
        }
    }

    /// Whether a file of this name is among the blobs.
    ///
    /// # Errors
    /// Something other than a file has that name.
    fn is_file(&self, name: &str) -> Result<bool> {
        match self.held.symlink_metadata(blob_path(name)) {
            Ok(found) if found.is_file() => Ok(true),
            Ok(_) => Err(not_a_file(self.shown(name))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(error!("{} can't be read: {}", self.shown(name), describe(&e))),
        }
    }

    /// The full path of a blob, for messages.
    fn shown(&self, name: &str) -> String {
        self.path.join(blob_path(name)).display().to_string()
    }
}

/// A blob's path, relative to its repository.
fn blob_path(name: &str) -> PathBuf {
    Path::new("blobs").join(name)
}

fn incomplete_name(blob: &str) -> String {
    format!("{blob}.incomplete")
}

fn not_a_file(path: impl Display) -> Error {
    error!("{path} is a link, a directory, a pipe or a device, where the cache keeps a file")
        .help("nothing that fetches models puts that there: delete it")
}

/// The error for a file that could not be written to the cache.
pub(super) fn not_written(what: impl Display, e: &IoError) -> Error {
    match e.kind() {
        ErrorKind::StorageFull => error!("{what} can't be kept: the disk is full"),
        _ => error!("{what} can't be written to the cache: {}", describe(e)),
    }
}

/// The system's error as text, and the held directory's error for a path that leads out of it.
fn describe(e: &IoError) -> String {
    if escapes_directory(e) {
        "a link on the way leads out of the cache".into()
    } else {
        describe_io_error(e)
    }
}
