//! Temporary files and folders in an output directory: a file until it is complete, the results of
//! a run until it has succeeded.
//!
//! They lie within the output directory itself, so that keeping them is a rename on one file
//! system. Each is removed when it is dropped, and all of them when the process ends in an orderly
//! way ([`remove_all`]). What a killed process left is removed by the next run: only the run that
//! holds a directory's lock creates such names in it, so the others are leftovers.

use std::io::{ErrorKind, Result};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use cap_std::fs::{Dir, File, OpenOptions};

use super::name::{TEMPORARY_PREFIX, is_reserved};

/// The names that exist now, with their directories.
static TEMPORARIES: Mutex<Vec<(Dir, String)>> = Mutex::new(Vec::new());

/// A temporary file or folder, which is removed when this is dropped unless it was renamed.
#[derive(Debug)]
pub struct Temporary {
    name: String,
}

impl Temporary {
    /// Creates a folder in `directory` and opens it.
    ///
    /// # Errors
    /// That of the system call that failed.
    pub fn folder(directory: &Dir) -> Result<(Self, Dir)> {
        let temporary = Self::make(directory, |name| directory.create_dir(name))?.0;
        let opened = directory.open_dir(temporary.name())?;
        Ok((temporary, opened))
    }

    /// Creates a file in `directory`, open for writing.
    ///
    /// # Errors
    /// That of the system call that failed.
    pub fn file(directory: &Dir) -> Result<(Self, File)> {
        Self::make(directory, |name| {
            directory.open_with(name, OpenOptions::new().write(true).create_new(true))
        })
    }

    fn make<T>(directory: &Dir, make: impl Fn(&str) -> Result<T>) -> Result<(Self, T)> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let own = directory.try_clone()?;
        loop {
            let name = format!(
                "{TEMPORARY_PREFIX}{}-{}",
                std::process::id(),
                COUNT.fetch_add(1, Ordering::Relaxed)
            );
            match make(&name) {
                // A process of another machine has the same id and has created it, on a drive that
                // both write to.
                Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {}
                Err(cause) => return Err(cause),
                Ok(made) => {
                    TEMPORARIES
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((own, name.clone()));
                    return Ok((Self { name }, made));
                }
            }
        }
    }

    /// Its name in the directory.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let mut all = TEMPORARIES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = all.iter().position(|(_, name)| *name == self.name) {
            let (directory, name) = all.swap_remove(at);
            remove(&directory, &name);
        }
    }
}

/// Removes every temporary file and folder of this process, which is about to end.
pub fn remove_all() {
    // The thread that holds the lock may be the one that a signal has interrupted: waiting would
    // never end.
    let Ok(mut all) = TEMPORARIES.try_lock() else { return };
    all.drain(..).for_each(|(directory, name)| remove(&directory, &name));
}

/// Removes what killed processes left in a directory that this process holds the lock of.
pub fn remove_leftovers(directory: &Dir) {
    let Ok(entries) = directory.entries() else { return };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| is_reserved(name)).for_each(|name| remove(directory, &name));
}

fn remove(directory: &Dir, name: &str) {
    /// Another thread may still write into a folder while it is being removed.
    const TRIES: usize = 3;
    if directory.remove_file(name).is_err() {
        let _ = (0..TRIES).any(|_| directory.remove_dir_all(name).is_ok());
    }
}
