//! A run's output directory: the one place that a script writes to, each file whole or not at all.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result, bail, error};

/// The longest name of a file or folder that common file systems take, in bytes.
const LONGEST_NAME: usize = 255;

/// The directory, made at the first write.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// `runs/SCRIPT-TIME` in the working directory, unused so far.
    pub fn of_script(script: &str) -> Self {
        let stamp = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S");
        let base = Path::new("runs").join(format!("{script}-{stamp}"));
        let free = std::iter::once(base.clone())
            .chain((2..).map(|n| base.with_file_name(format!("{script}-{stamp}-{n}"))))
            .find(|path| !path.exists());
        Self { path: free.unwrap_or(base) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Makes the directory, and sees that it can be written to.
    ///
    /// # Errors
    /// It can't be.
    pub fn prepare(&self) -> Result<()> {
        std::fs::create_dir_all(&self.path).map_err(|e| self.cannot("made", &e))?;
        tempfile::tempfile_in(&self.path).map_err(|e| self.cannot("written to", &e))?;
        Ok(())
    }

    /// Writes a file below the directory. Until `write` has written all of it, nothing stands under its name.
    ///
    /// # Errors
    /// A name that leads elsewhere, a directory that can't be written to, a full disk, or `write`'s own error.
    pub fn write(&self, name: &str, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<PathBuf> {
        check_name(name)?;
        std::fs::create_dir_all(&self.path).map_err(|e| self.cannot("made", &e))?;
        let mut folder = self.path.clone();
        let mut parts: Vec<&str> = name.split('/').collect();
        let file_name = parts.pop().unwrap_or(name);
        for part in parts {
            folder.push(part);
            match std::fs::symlink_metadata(&folder) {
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => bail!("{name:?} can't be written: {} is no folder", folder.display()),
                Err(_) => std::fs::create_dir(&folder).map_err(|e| self.failed(name, &e))?,
            }
        }
        let path = folder.join(file_name);
        if std::fs::symlink_metadata(&path).is_ok_and(|meta| !meta.is_file()) {
            bail!("{name:?} can't be written: something that is no file stands in its place");
        }
        let mut file = tempfile::NamedTempFile::new_in(&folder).map_err(|e| self.failed(name, &e))?;
        {
            let mut kept = Kept { inner: std::io::BufWriter::new(file.as_file_mut()), error: None };
            let written = write(&mut kept).and_then(|()| kept.flush().map_err(|e| error!("{e}")));
            if let Some(cause) = kept.error {
                return Err(self.failed(name, &cause));
            }
            written.map_err(|e| e.at(name))?;
        }
        set_usual_permissions(file.path());
        file.persist(&path).map_err(|e| self.failed(name, &e.error))?;
        Ok(path)
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

/// A temporary file is its owner's alone; a result is as readable as any file that its owner makes.
fn set_usual_permissions(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644));
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// A name stays below the directory, on every file system.
fn check_name(name: &str) -> Result<()> {
    let wrong = |why: &str| {
        Err(error!("{name:?} is no name to save under: {why}")
            .help("files are saved in the run's output directory and nowhere else"))
    };
    if name.is_empty() {
        return wrong("it is empty");
    }
    if name.chars().any(|c| c.is_control() || "\\:*?\"<>|".contains(c)) {
        return wrong("it has a character that file names can't have");
    }
    for part in name.split('/') {
        if part.is_empty() {
            return wrong("it is an absolute path, or a folder in it has no name");
        }
        if part.chars().all(|c| c == '.') || part.ends_with([' ', '.']) {
            return wrong("a part of it leads elsewhere");
        }
        if part.len() > LONGEST_NAME {
            return wrong("it is too long");
        }
    }
    Ok(())
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

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let (home, directory) = directory();
        let long = "x".repeat(256);
        for name in
            ["", "/etc/x", "../x", "a/../../x", "a//b", ".", "..", "a/.", "a\\b", "c:x", "a\0b", "a\nb", "...", &long]
        {
            assert!(directory.write(name, |_| Ok(())).is_err(), "{name:?}");
        }
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
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
