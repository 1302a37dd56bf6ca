//! A run's output directory, the only place that a script can write to. Every file appears under
//! its name complete or not at all.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::directory_lock::DirectoryLock;
use super::first_error::FirstError;
use super::name::RECORD;
use super::temporary::Temporary;
use super::{name, temporary};
use crate::system::directory::HeldDirectory;
use crate::system::file::{FileKind, describe_io_error};
use crate::{Error, Result, bail, error};

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

    /// Writes a file below the directory. The file appears under its name once `write` has returned
    /// `Ok`.
    ///
    /// # Errors
    /// A name that [`name::check`] refuses, a directory that can't be written to, a full disk, or
    /// the error of `write`.
    pub fn write(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> Result<()>,
    ) -> Result<PathBuf> {
        let (folder, file_name) = self.open_parent(name)?;
        let directory = self.open()?;
        let (temporary, file) = Temporary::file(directory).map_err(|e| self.failed(name, &e))?;
        let mut kept = FirstError::new(std::io::BufWriter::new(file));
        let written = write(&mut kept)
            .and_then(|()| kept.flush().map_err(|e| error!("{}", describe_io_error(&e))));
        if let Some(cause) = kept.error {
            return Err(self.failed(name, &cause));
        }
        written.map_err(|e| e.at(name))?;
        directory
            .rename(temporary.name(), &folder, file_name)
            .map_err(|e| self.failed(name, &e))?;
        Ok(self.path().join(name))
    }

    /// This directory and a folder in it, which is created: handles of their own, for a thread that
    /// writes into the folder.
    ///
    /// # Errors
    /// A name that [`name::check`] refuses, or a folder that can't be made.
    pub fn folder(&self, name: &str) -> Result<(Dir, Dir)> {
        let (folder, _) = self.open_parent(&format!("{name}/{RECORD}"))?;
        let root = self.open()?.try_clone().map_err(|e| self.failed(name, &e))?;
        Ok((root, folder))
    }

    /// Opens a file of this directory for reading.
    ///
    /// # Errors
    /// There is no file of this name, or it can't be opened.
    pub fn file(&self, name: &str) -> Result<File> {
        let opened = self.open()?.try_clone().map(|dir| HeldDirectory::from_open(self.path(), dir));
        let file = opened.and_then(|folder| folder.file(Path::new(name), FileKind::Data));
        file.map_err(|e| error!("{name} can't be read: {}", describe_io_error(&e)))
    }

    /// Moves a file from a stage of this directory to the same name here.
    ///
    /// # Errors
    /// As for [`write`](Self::write); or the stage has no such file.
    pub fn settle(&self, stage: &Directory, name: &str) -> Result<()> {
        let (folder, file_name) = self.open_parent(name)?;
        let staged = stage.open()?;
        staged.rename(name, &folder, file_name).map_err(|e| self.failed(name, &e))
    }

    /// Removes a file; does nothing if there is none.
    ///
    /// # Errors
    /// The file can't be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        name::check(name)?;
        let Some(dir) = self.opened() else { return Ok(()) };
        match dir.remove_file(name) {
            Err(cause)
                if !matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                let cause = describe_io_error(&cause);
                Err(error!("{} can't be removed: {cause}", self.path().join(name).display()))
            }
            _ => Ok(()),
        }
    }

    /// Opens the folder that `name` lies in, creating it if needed, and returns it with the file's
    /// own name.
    fn open_parent<'n>(&self, name: &'n str) -> Result<(Dir, &'n str)> {
        name::check(name)?;
        let (folders, file_name) = name.rsplit_once('/').unwrap_or(("", name));
        let mut folder = self.open()?.try_clone().map_err(|e| self.failed(name, &e))?;
        for part in folders.split('/').filter(|part| !part.is_empty()) {
            match folder.symlink_metadata(part) {
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => bail!("{name:?} can't be written: {part:?} is no folder"),
                Err(_) => folder.create_dir(part).map_err(|e| self.failed(name, &e))?,
            }
            folder = folder.open_dir(part).map_err(|e| self.failed(name, &e))?;
        }
        if folder.symlink_metadata(file_name).is_ok_and(|meta| !meta.is_file()) {
            bail!("{name:?} can't be written: something that is no file stands in its place");
        }
        Ok((folder, file_name))
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

    fn failed(&self, name: &str, cause: &std::io::Error) -> Error {
        if let Some(error) = self.lost() {
            return error.at(name);
        }
        let (shown, words) = (self.shown(), describe_io_error(cause));
        match cause.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                error!("{name} does not fit into {shown}: {words}")
                    .help("make room on the disk, or choose another directory with --out DIR")
            }
            ErrorKind::FileTooLarge => error!("{name} does not fit into {shown}: {words}"),
            _ => error!("{name} can't be written to {shown}: {words}")
                .help("choose another directory with --out DIR"),
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

/// The folders of a name, each with its parents: `a/b/c.json` has `a` and `a/b`.
pub fn folders(name: &str) -> BTreeSet<String> {
    name.match_indices('/').map(|(end, _)| name[..end].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, Directory) {
        let home = tempfile::tempdir().unwrap();
        let directory = Directory::new(home.path().join("out"));
        (home, directory)
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let (_home, directory) = directory();
        assert!(!directory.is_open());
        directory
            .write("a/b.txt", |w| {
                let _: () = w.write_all(b"one").unwrap();
                Ok(())
            })
            .unwrap();
        let failed = directory.write("a/b.txt", |w| {
            w.write_all(b"half").unwrap();
            bail!("no more")
        });
        assert_eq!(failed.unwrap_err().message(), "a/b.txt: no more");
        assert_eq!(std::fs::read(directory.path().join("a/b.txt")).unwrap(), b"one");
        assert_eq!(
            std::fs::read_dir(directory.path().join("a")).unwrap().count(),
            1,
            "a temporary file stayed"
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let (home, directory) = directory();
        directory.prepare().unwrap();
        let outside = home.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, directory.path().join("link")).unwrap();
        std::os::unix::fs::symlink(outside.join("x"), directory.path().join("file")).unwrap();
        assert!(directory.write("link/x", |_| Ok(())).is_err());
        assert!(directory.write("file", |_| Ok(())).is_err());
        assert_eq!(std::fs::read_dir(outside).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_swapped_for_a_link_is_not_followed() {
        let (home, directory) = directory();
        let outside = home.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        directory.write("a/one", |_| Ok(())).unwrap();
        std::fs::rename(directory.path(), home.path().join("moved")).unwrap();
        std::os::unix::fs::symlink(&outside, directory.path()).unwrap();
        directory.write("a/two", |_| Ok(())).unwrap();
        std::fs::rename(home.path().join("moved/a"), home.path().join("a")).unwrap();
        std::os::unix::fs::symlink(&outside, home.path().join("moved/a")).unwrap();
        assert!(directory.write("a/three", |_| Ok(())).is_err());
        assert_eq!(std::fs::read_dir(outside).unwrap().count(), 0);
    }

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
