//! A run's output directory: the one place that a script writes to, each file whole or not at all.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::lock::Claim;
use super::temporary::Unfinished;
use super::{name, temporary};
use crate::system::directory::HeldDirectory;
use crate::system::file::{FileKind, describe_io_error};
use crate::{Error, Result, bail, error};

/// The directory, made at the first write. From then on it is held open: whatever comes to stand
/// under its path, links included, nothing is written elsewhere; and it is this run's alone, until
/// [`release`](Directory::release). A clone is the same directory.
#[derive(Debug, Clone)]
pub struct Directory(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    place: Place,
    opened: OnceCell<Opened>,
}

#[derive(Debug)]
enum Place {
    Given(PathBuf),
    /// The first of this name, or of it with a number, that is not there yet.
    Unused(PathBuf),
    /// A folder within another directory, which is gone with this.
    Within(Directory),
}

#[derive(Debug)]
struct Opened {
    path: PathBuf,
    dir: Dir,
    claim: RefCell<Option<Claim>>,
    /// Of a folder that may not stay.
    unfinished: RefCell<Option<Unfinished>>,
}

impl Directory {
    pub fn new(path: PathBuf) -> Self {
        Self::of(Place::Given(path))
    }

    /// `runs/SCRIPT-TIME` in the working directory, unused so far.
    pub fn of_script(script: &str) -> Self {
        let stamp = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S");
        Self::of(Place::Unused(Path::new("runs").join(format!("{script}-{stamp}"))))
    }

    /// A folder within this directory for results that may not stay: [`settle`](Self::settle) keeps
    /// one, and what is left when the folder is [released](Self::release) is gone.
    pub fn stage(&self) -> Self {
        Self::of(Place::Within(self.clone()))
    }

    fn of(place: Place) -> Self {
        Self(Rc::new(Inner { place, opened: OnceCell::new() }))
    }

    /// Where it is, or would be as things are.
    pub fn path(&self) -> &Path {
        match (self.0.opened.get(), &self.0.place) {
            (Some(opened), _) => &opened.path,
            (None, Place::Given(path) | Place::Unused(path)) => path,
            (None, Place::Within(directory)) => directory.path(),
        }
    }

    /// The directory's handle, where it was opened.
    fn opened(&self) -> Option<&Dir> {
        self.0.opened.get().map(|opened| &opened.dir)
    }

    /// Whether something was written, or would have been.
    pub fn is_open(&self) -> bool {
        self.opened().is_some()
    }

    fn open(&self) -> Result<&Dir> {
        if let Some(opened) = self.opened() {
            return Ok(opened);
        }
        let opened = match &self.0.place {
            Place::Given(path) => {
                std::fs::create_dir_all(path).map_err(|e| self.cannot("made", &e))?;
                self.claimed(path.clone())?
            }
            Place::Unused(base) => self.claimed(self.make_unused(base)?)?,
            Place::Within(directory) => {
                let made = Unfinished::folder(directory.open()?);
                let (unfinished, dir) = made.map_err(|e| directory.cannot("written to", &e))?;
                let path = directory.path().join(unfinished.name());
                Opened {
                    path,
                    dir,
                    claim: RefCell::new(None),
                    unfinished: RefCell::new(Some(unfinished)),
                }
            }
        };
        Ok(&self.0.opened.get_or_init(|| opened).dir)
    }

    fn claimed(&self, path: PathBuf) -> Result<Opened> {
        let dir = Dir::open_ambient_dir(&path, ambient_authority())
            .map_err(|e| self.cannot("opened", &e))?;
        let claim = Claim::take(&dir, &path)?;
        if claim.is_held() {
            temporary::sweep(&dir);
        }
        Ok(Opened { path, dir, claim: RefCell::new(Some(claim)), unfinished: RefCell::new(None) })
    }

    /// Makes a directory that no other run has made.
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

    /// Makes the directory, and sees that it can be written to and that no other run writes into
    /// it.
    ///
    /// # Errors
    /// It can't be, or one does.
    pub fn prepare(&self) -> Result<()> {
        Unfinished::file(self.open()?).map(drop).map_err(|e| self.cannot("written to", &e))
    }

    /// Lets other runs write into it. A stage is gone with all that it holds.
    pub fn release(&self) {
        if let Some(opened) = self.0.opened.get() {
            opened.unfinished.take();
            opened.claim.take();
        }
    }

    /// Whether it was deleted, or moved away, after it was opened: what is written into it is lost,
    /// or stands where nobody looks.
    pub fn is_gone(&self) -> bool {
        self.opened()
            .is_some_and(|dir| is_deleted(dir) || std::fs::symlink_metadata(self.path()).is_err())
    }

    /// Writes a file below the directory. Until `write` has written all of it, nothing stands under
    /// its name.
    ///
    /// # Errors
    /// A name that leads elsewhere, a directory that can't be written to, a full disk, or `write`'s
    /// own error.
    pub fn write(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> Result<()>,
    ) -> Result<PathBuf> {
        let (folder, file_name) = self.place(name)?;
        let directory = self.open()?;
        let (unfinished, file) = Unfinished::file(directory).map_err(|e| self.failed(name, &e))?;
        let mut kept = Kept { inner: std::io::BufWriter::new(file), error: None };
        let written = write(&mut kept)
            .and_then(|()| kept.flush().map_err(|e| error!("{}", describe_io_error(&e))));
        if let Some(cause) = kept.error {
            return Err(self.failed(name, &cause));
        }
        written.map_err(|e| e.at(name))?;
        directory
            .rename(unfinished.name(), &folder, file_name)
            .map_err(|e| self.failed(name, &e))?;
        Ok(self.path().join(name))
    }

    /// Opens a file that was written, to read it.
    ///
    /// # Errors
    /// There is none.
    pub fn file(&self, name: &str) -> Result<File> {
        let opened = self.open()?.try_clone().map(|dir| HeldDirectory::from_open(self.path(), dir));
        let file = opened.and_then(|folder| folder.file(Path::new(name), FileKind::Data));
        file.map_err(|e| error!("{name} can't be read: {}", describe_io_error(&e)))
    }

    /// Puts a file of a stage of this directory in its place here, as it is.
    ///
    /// # Errors
    /// As [`write`](Self::write), and there is no such file.
    pub fn settle(&self, stage: &Directory, name: &str) -> Result<()> {
        let (folder, file_name) = self.place(name)?;
        let staged = stage.open()?;
        staged.rename(name, &folder, file_name).map_err(|e| self.failed(name, &e))
    }

    /// Removes a file, where there is one.
    ///
    /// # Errors
    /// It stays.
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

    /// The folder that a file is to stand in, made if it is not there, and the file's name in it.
    fn place<'n>(&self, name: &'n str) -> Result<(Dir, &'n str)> {
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

    /// The directory's path as the person knows it.
    fn shown(&self) -> std::path::Display<'_> {
        match &self.0.place {
            Place::Within(directory) => directory.path().display(),
            _ => self.path().display(),
        }
    }

    /// Why nothing can be written any more, where it is because the directory was deleted.
    fn lost(&self) -> Option<Error> {
        if let Place::Within(directory) = &self.0.place
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

impl Drop for Inner {
    fn drop(&mut self) {
        // Nothing was saved into a directory that was made for it.
        if let (Some(opened), Place::Unused(_)) = (self.opened.get(), &self.place) {
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

/// The folders that a name has, each with those above it.
pub fn folders(name: &str) -> BTreeSet<String> {
    name.match_indices('/').map(|(end, _)| name[..end].to_owned()).collect()
}

/// Keeps the first error of the file itself: what a format's writer makes of it says less.
struct Kept<W: Write> {
    inner: W,
    error: Option<std::io::Error>,
}

impl<W: Write> Kept<W> {
    fn keep<T>(&mut self, result: std::io::Result<T>) -> std::io::Result<T> {
        result.map_err(|cause| {
            let kind = cause.kind();
            self.error.get_or_insert(cause);
            kind.into()
        })
    }
}

impl<W: Write> Write for Kept<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let result = self.inner.write(bytes);
        self.keep(result)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let result = self.inner.flush();
        self.keep(result)
    }
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
