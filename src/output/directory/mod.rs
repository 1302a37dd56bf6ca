//! A run's output directory, the only place that a script can write to: where it lies, and how it is
//! made, held and given up. Its files are written in `files.rs`.

mod files;

use std::cell::{OnceCell, RefCell};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::directory_lock::DirectoryLock;
use super::temporary;
use super::temporary::Temporary;
use crate::system::file::describe_io_error;
use crate::{Error, Result, error};

pub use files::folders;

/// The output directory. It is created at the first write and held open from then on, so that
/// replacing its path, by a link for instance, redirects no later write. While it is open this run
/// holds its lock, until [`release`](Directory::release). A clone is a handle to the same
/// directory.
#[derive(Debug, Clone)]
pub struct Directory(Rc<DirectoryState>);

#[derive(Debug)]
struct DirectoryState {
    location: Location,
    opened: OnceCell<Opened>,
}

#[derive(Debug)]
enum Location {
    /// The path that `--out` gives.
    Given(PathBuf),
    /// The first directory of this name, or of this name and a number, that does not exist yet.
    Unused(PathBuf),
    /// A temporary folder within another directory, removed when it is released.
    Within(Directory),
}

#[derive(Debug)]
struct Opened {
    path: PathBuf,
    dir: Dir,
    lock: RefCell<Option<DirectoryLock>>,
    /// Set for [`Location::Within`]: removes the folder when it is dropped.
    temporary: RefCell<Option<Temporary>>,
}

impl Directory {
    /// The directory at `path`, which is created if it does not exist.
    pub fn new(path: PathBuf) -> Self {
        Self::of(Location::Given(path))
    }

    /// A new directory `runs/SCRIPT-TIME` below the working directory.
    pub fn of_script(script: &str) -> Self {
        let stamp = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S");
        Self::of(Location::Unused(Path::new("runs").join(format!("{script}-{stamp}"))))
    }

    /// A temporary folder within this directory, for results that may be discarded:
    /// [`settle`](Self::settle) moves a file out of it, and [`release`](Self::release) removes it
    /// with what is left.
    pub fn stage(&self) -> Self {
        Self::of(Location::Within(self.clone()))
    }

    fn of(location: Location) -> Self {
        Self(Rc::new(DirectoryState { location, opened: OnceCell::new() }))
    }

    /// The directory's path. Before the first write it is the path that is tried first.
    pub fn path(&self) -> &Path {
        match (self.0.opened.get(), &self.0.location) {
            (Some(opened), _) => &opened.path,
            (None, Location::Given(path) | Location::Unused(path)) => path,
            (None, Location::Within(directory)) => directory.path(),
        }
    }

    /// The open directory, if it has been created.
    fn opened(&self) -> Option<&Dir> {
        self.0.opened.get().map(|opened| &opened.dir)
    }

    /// Whether the directory has been created and opened.
    pub fn is_open(&self) -> bool {
        self.opened().is_some()
    }

    fn open(&self) -> Result<&Dir> {
        if let Some(opened) = self.opened() {
            return Ok(opened);
        }
        let opened = match &self.0.location {
            Location::Given(path) => {
                std::fs::create_dir_all(path).map_err(|e| self.cannot("made", &e))?;
                self.lock_opened(path.clone())?
            }
            Location::Unused(base) => self.lock_opened(self.make_unused(base)?)?,
            Location::Within(directory) => {
                let made = Temporary::folder(directory.open()?);
                let (temporary, dir) = made.map_err(|e| directory.cannot("written to", &e))?;
                let path = directory.path().join(temporary.name());
                Opened {
                    path,
                    dir,
                    lock: RefCell::new(None),
                    temporary: RefCell::new(Some(temporary)),
                }
            }
        };
        Ok(&self.0.opened.get_or_init(|| opened).dir)
    }

    fn lock_opened(&self, path: PathBuf) -> Result<Opened> {
        let dir = Dir::open_ambient_dir(&path, ambient_authority())
            .map_err(|e| self.cannot("opened", &e))?;
        let lock = DirectoryLock::take(&dir, &path)?;
        if lock.is_held() {
            temporary::remove_leftovers(&dir);
        }
        Ok(Opened { path, dir, lock: RefCell::new(Some(lock)), temporary: RefCell::new(None) })
    }

    /// Creates the first of `base`, `base-2`, `base-3`, … that does not exist.
    fn make_unused(&self, base: &Path) -> Result<PathBuf> {
        if let Some(above) = base.parent() {
            std::fs::create_dir_all(above).map_err(|e| self.cannot("made", &e))?;
        }
        let name = base.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let numbered = (2..).map(|n| base.with_file_name(format!("{name}-{n}")));
        for path in std::iter::once(base.to_owned()).chain(numbered) {
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(path),
                Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {}
                Err(cause) => return Err(self.cannot("made", &cause)),
            }
        }
        Ok(base.to_owned())
    }

    /// Creates the directory and checks, before a run computes anything, that a file can be written
    /// in it.
    ///
    /// # Errors
    /// The directory can't be created or written to, or another run holds its lock.
    pub fn prepare(&self) -> Result<()> {
        Temporary::file(self.open()?).map(drop).map_err(|e| self.cannot("written to", &e))
    }

    /// Gives up the lock, so that other runs may write into the directory. A stage is removed with
    /// all that it holds.
    pub fn release(&self) {
        if let Some(opened) = self.0.opened.get() {
            opened.temporary.take();
            opened.lock.take();
        }
    }

    /// Whether the directory was deleted or moved after it was opened, so that files written to it
    /// would be lost or hard to find.
    pub fn is_gone(&self) -> bool {
        self.opened()
            .is_some_and(|dir| is_deleted(dir) || std::fs::symlink_metadata(self.path()).is_err())
    }

    fn cannot(&self, what: &str, cause: &std::io::Error) -> Error {
        match self.lost() {
            Some(error) => error,
            None => {
                let words = match cause.kind() {
                    ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                        "something that is no directory stands there".into()
                    }
                    _ => describe_io_error(cause),
                };
                error!("the output directory {} can't be {what}: {words}", self.shown())
                    .help("choose another with --out DIR")
            }
        }
    }

    /// The path to name in messages: for a stage, the path of the directory that it belongs to.
    fn shown(&self) -> std::path::Display<'_> {
        match &self.0.location {
            Location::Within(directory) => directory.path().display(),
            _ => self.path().display(),
        }
    }

    /// The error to report if the directory was deleted during the run.
    fn lost(&self) -> Option<Error> {
        if let Location::Within(directory) = &self.0.location
            && let Some(error) = directory.lost()
        {
            return Some(error);
        }
        self.opened().filter(|dir| is_deleted(dir)).map(|_| {
            error!("the output directory {} was deleted while the run went on", self.shown())
                .help("what was saved in it is gone: run again")
        })
    }
}

impl Drop for DirectoryState {
    fn drop(&mut self) {
        // `remove_dir` fails unless the directory is empty: a directory that this run created and
        // saved nothing into does not stay behind.
        if let (Some(opened), Location::Unused(_)) = (self.opened.get(), &self.location) {
            let _ = std::fs::remove_dir(&opened.path);
        }
    }
}

#[cfg(unix)]
fn is_deleted(dir: &Dir) -> bool {
    use cap_std::fs::MetadataExt;
    dir.dir_metadata().is_ok_and(|meta| meta.nlink() == 0)
}

#[cfg(not(unix))]
fn is_deleted(_dir: &Dir) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_a_file_is_a_sentence() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("out");
        std::fs::write(&path, "").unwrap();
        let directory = Directory::new(path);
        assert!(directory.prepare().unwrap_err().message().contains("can't be made"));
        assert!(directory.write("x", |_| Ok(())).unwrap_err().message().contains("can't be made"));
    }
}
