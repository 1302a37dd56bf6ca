//! The files of an output directory. Each appears under its name complete or not at all.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;

use super::Directory;
use crate::output::first_error::FirstError;
use crate::output::name::{self, RECORD};
use crate::output::temporary::Temporary;
use crate::system::directory::HeldDirectory;
use crate::system::file::{FileKind, describe_io_error};
use crate::{Error, Result, bail, error};

impl Directory {
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
}
