//! One run at a time writes into a directory. Whoever else would is told which run it is.
//!
//! The claim is the system's lock on the directory itself: it holds under whatever path the
//! directory is reached, and ends with its process, however that ends. Beside it stands a note of
//! whose it is, where this program remembers things.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;

use crate::system::data_dir::user_data_dir;
use crate::system::file::FileKind;
use crate::system::{file, lock_holder};
use crate::{Error, Result, error};

/// A directory that this run alone writes into, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    /// Nothing where the file system has no locks.
    lock: Option<File>,
    note: Option<PathBuf>,
}

impl Claim {
    /// # Errors
    /// Another run writes into it.
    pub fn take(directory: &Dir, path: &Path) -> Result<Self> {
        // Opened anew: the lock is that of an opened file, and goes with its last copy.
        let Ok(own) = directory.open(".").map(cap_std::fs::File::into_std) else {
            return Ok(Self { lock: None, note: None });
        };
        let note = note(&own);
        match own.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(path, &own, note.as_deref())),
            // Some network drives have no locks: nobody can be told, and a run must not fail for
            // it.
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

    /// Whether no other run can be writing into the directory now.
    pub fn is_held(&self) -> bool {
        self.lock.is_some()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Before the lock goes: what stands there afterwards is another's.
        if let Some(note) = &self.note {
            let _ = std::fs::remove_file(note);
        }
    }
}

/// Where it is noted whose a directory is.
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

fn taken(path: &Path, own: &File, note: Option<&Path>) -> Error {
    let text = note.and_then(|note| file::read_text(note, FileKind::Lock).ok()).unwrap_or_default();
    let whose = text
        .split_once(' ')
        .and_then(|(process, since)| Some((process.parse::<u32>().ok()?, since)));
    let whose = match whose.filter(|(process, _)| is_alive(*process)) {
        Some((process, since)) => format!(": process {process}, since {}", since.trim()),
        // One whose notes are kept elsewhere: another person's.
        None => lock_holder::describe(own).map_or_else(String::new, |holder| format!(": {holder}")),
    };
    error!("another run writes into {}{whose}", path.display())
        .help("wait for its end, or choose another directory with --out DIR")
}

#[cfg(unix)]
fn is_alive(process: u32) -> bool {
    // SAFETY: signal 0 is none; it asks whether it could be sent.
    let asked = i32::try_from(process).map(|process| unsafe { libc::kill(process, 0) });
    asked == Ok(0) || std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

#[cfg(not(unix))]
fn is_alive(_process: u32) -> bool {
    true
}
