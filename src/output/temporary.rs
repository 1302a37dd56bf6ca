//! What is being made in a directory, and may not stay: a file that is not whole yet, a folder of
//! results of a run that may fail. It stands within the directory that it is made for, so that a
//! name is all that changes when it stays; it is gone with whoever makes it, and with the process
//! if that comes to an end that can be foreseen. What a killed process left, the next run removes:
//! nobody but the run that has claimed a directory makes such things in it.

use std::io::{ErrorKind, Result};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use cap_std::fs::{Dir, File, OpenOptions};

use super::name::folded;

/// What the names of these files and folders begin with.
const PREFIX: &str = ".precompute-";

/// All that there are now, each with the directory that it is in.
static UNFINISHED: Mutex<Vec<(Dir, String)>> = Mutex::new(Vec::new());

/// The name of something that is being made. What is under that name is removed when this is
/// dropped.
#[derive(Debug)]
pub struct Unfinished {
    name: String,
}

impl Unfinished {
    /// A folder in `directory`.
    ///
    /// # Errors
    /// The system's.
    pub fn folder(directory: &Dir) -> Result<(Self, Dir)> {
        let unfinished = Self::make(directory, |name| directory.create_dir(name))?.0;
        let opened = directory.open_dir(unfinished.name())?;
        Ok((unfinished, opened))
    }

    /// A file in `directory`, to be written.
    ///
    /// # Errors
    /// The system's.
    pub fn file(directory: &Dir) -> Result<(Self, File)> {
        Self::make(directory, |name| {
            directory.open_with(name, OpenOptions::new().write(true).create_new(true))
        })
    }

    fn make<T>(directory: &Dir, make: impl Fn(&str) -> Result<T>) -> Result<(Self, T)> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let own = directory.try_clone()?;
        loop {
            let name =
                format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            match make(&name) {
                // Another machine's process made it, on a drive that both write to.
                Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {}
                Err(cause) => return Err(cause),
                Ok(made) => {
                    UNFINISHED
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((own, name.clone()));
                    return Ok((Self { name }, made));
                }
            }
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut all = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = all.iter().position(|(_, name)| *name == self.name) {
            let (directory, name) = all.swap_remove(at);
            remove(&directory, &name);
        }
    }
}

/// Removes all that this process has not finished: it is about to end.
pub fn abandon() {
    // Whoever ends the process may have been stopped while it held the list.
    let Ok(mut all) = UNFINISHED.try_lock() else { return };
    all.drain(..).for_each(|(directory, name)| remove(&directory, &name));
}

/// Removes what processes that were killed left in a directory that this one has claimed.
pub fn sweep(directory: &Dir) {
    let Ok(entries) = directory.entries() else { return };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| is_reserved(name)).for_each(|name| remove(directory, &name));
}

fn remove(directory: &Dir, name: &str) {
    /// Something may still be written into a folder that is being removed.
    const TRIES: usize = 3;
    if directory.remove_file(name).is_err() {
        let _ = (0..TRIES).any(|_| directory.remove_dir_all(name).is_ok());
    }
}

/// Whether a name in a run's directory may be one of these.
pub fn is_reserved(name: &str) -> bool {
    folded(name).starts_with(PREFIX)
}
