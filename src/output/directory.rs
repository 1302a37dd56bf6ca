//! A run's output directory: the one place that a script writes to, each file whole or not at all.

use std::cell::OnceCell;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use cap_tempfile::TempFile;

use super::name;
use crate::{Error, Result, bail, error};

/// The directory, made at the first write. From then on it is held open: whatever comes to stand under its path, links
/// included, nothing is written elsewhere. A clone is the same directory.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    opened: Rc<OnceCell<Dir>>,
}

impl Directory {
    pub fn new(path: PathBuf) -> Self {
        Self { path, opened: Rc::default() }
    }

    /// `runs/SCRIPT-TIME` in the working directory, unused so far.
    pub fn of_script(script: &str) -> Self {
        let stamp = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S");
        let base = Path::new("runs").join(format!("{script}-{stamp}"));
        let free = std::iter::once(base.clone())
            .chain((2..).map(|n| base.with_file_name(format!("{script}-{stamp}-{n}"))))
            .find(|path| std::fs::symlink_metadata(path).is_err());
        Self::new(free.unwrap_or(base))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn exists(&self) -> bool {
        self.path.is_dir()
    }

    fn open(&self) -> Result<&Dir> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        std::fs::create_dir_all(&self.path).map_err(|e| self.cannot("made", &e))?;
        let opened = Dir::open_ambient_dir(&self.path, ambient_authority()).map_err(|e| self.cannot("opened", &e))?;
        Ok(self.opened.get_or_init(|| opened))
    }

    /// Makes the directory, and sees that it can be written to.
    ///
    /// # Errors
    /// It can't be.
    pub fn prepare(&self) -> Result<()> {
        TempFile::new_anonymous(self.open()?).map_err(|e| self.cannot("written to", &e))?;
        Ok(())
    }

    /// Writes a file below the directory. Until `write` has written all of it, nothing stands under its name.
    ///
    /// # Errors
    /// A name that leads elsewhere, a directory that can't be written to, a full disk, or `write`'s own error.
    pub fn write(&self, name: &str, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<PathBuf> {
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
        let mut file = TempFile::new(&folder).map_err(|e| self.failed(name, &e))?;
        {
            let mut kept = Kept { inner: std::io::BufWriter::new(file.as_file_mut()), error: None };
            let written = write(&mut kept).and_then(|()| kept.flush().map_err(|e| error!("{e}")));
            if let Some(cause) = kept.error {
                return Err(self.failed(name, &cause));
            }
            written.map_err(|e| e.at(name))?;
        }
        file.replace(file_name).map_err(|e| self.failed(name, &e))?;
        Ok(self.path.join(name))
    }

    fn cannot(&self, what: &str, cause: &std::io::Error) -> Error {
        error!("the output directory {} can't be {what}: {cause}", self.path.display())
            .help("choose another with --out DIR")
    }

    fn failed(&self, name: &str, cause: &std::io::Error) -> Error {
        if matches!(cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) {
            return error!("{name} does not fit into {}: {cause}", self.path.display())
                .help("make room on the disk, or choose another directory with --out DIR");
        }
        error!("{name} can't be written to {}: {cause}", self.path.display())
            .help("choose another directory with --out DIR")
    }
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
        assert!(!directory.exists());
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
        assert_eq!(std::fs::read_dir(directory.path().join("a")).unwrap().count(), 1, "a temporary file stayed");
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
