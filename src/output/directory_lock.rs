//! A lock on an output directory, so that one run at a time writes into it.
//!
//! The lock is the operating system's lock (`flock` on Unix) on the directory itself. It therefore
//! holds under every path of the directory, and ends with the process that took it, however that
//! process ends. A small file in the data directory of this program notes which process holds the
//! lock, for the message that another run shows.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;

use crate::system::data_dir::user_data_dir;
use crate::system::file::FileKind;
use crate::system::{file, lock_holder};
use crate::{Error, Result, error};

/// The lock on an output directory, held until it is dropped.
#[derive(Debug)]
pub struct DirectoryLock {
    /// `None` if the file system has no locks.
    lock: Option<File>,
    note: Option<PathBuf>,
}

impl DirectoryLock {
    /// Locks `directory`, which messages call `path`.
    ///
    /// # Errors
    /// Another run holds the lock.
    pub fn take(directory: &Dir, path: &Path) -> Result<Self> {
        // `flock` belongs to an open file description and ends when its last copy is closed, so the
        // lock needs a description of its own.
        let Ok(own) = directory.open(".").map(cap_std::fs::File::into_std) else {
            return Ok(Self { lock: None, note: None });
        };
        let note = note(&own);
        match own.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(locked_by_another(path, &own, note.as_deref()));
            }
            // Some network file systems have no locks. A run must not fail for that.
            Err(TryLockError::Error(_)) => return Ok(Self { lock: None, note: None }),
        }
        if let Some(note) = &note {
            let text = format!(
                "{} {}",
                std::process::id(),
                jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S")
            );
            let _ = note.parent().map(std::fs::create_dir_all);
            let _ = std::fs::write(note, text);
        }
        Ok(Self { lock: Some(own), note })
    }

    /// Whether the lock is really held: `false` on a file system without locks.
    pub fn is_held(&self) -> bool {
        self.lock.is_some()
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Removed before the lock is released: a note that exists after that is another run's.
        if let Some(note) = &self.note {
            let _ = std::fs::remove_file(note);
        }
    }
}

/// The file that notes which process holds the lock on a directory.
#[cfg(unix)]
fn note(directory: &File) -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let found = directory.metadata().ok()?;
    Some(user_data_dir().ok()?.join("writing").join(format!("{:x}-{:x}", found.dev(), found.ino())))
}

#[cfg(not(unix))]
fn note(_directory: &File) -> Option<PathBuf> {
    None
}

fn locked_by_another(path: &Path, own: &File, note: Option<&Path>) -> Error {
    let text = note.and_then(|note| file::read_text(note, FileKind::Lock).ok()).unwrap_or_default();
    let whose = text
        .split_once(' ')
        .and_then(|(process, since)| Some((process.parse::<u32>().ok()?, since)));
    let whose = match whose.filter(|(process, _)| is_alive(*process)) {
        Some((process, since)) => format!(": process {process}, since {}", since.trim()),
        // No note here: the process is another user's.
        None => lock_holder::describe(own).map_or_else(String::new, |holder| format!(": {holder}")),
    };
    error!("another run writes into {}{whose}", path.display())
        .help("wait for its end, or choose another directory with --out DIR")
}

#[cfg(unix)]
fn is_alive(process: u32) -> bool {
    // SAFETY: `kill` takes two integers and reads no memory of this process. With signal 0 it sends
    // nothing and only reports whether the process exists and may be signalled.
    let asked = i32::try_from(process).map(|process| unsafe { libc::kill(process, 0) });
    asked == Ok(0) || std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

#[cfg(not(unix))]
fn is_alive(_process: u32) -> bool {
    true
}
