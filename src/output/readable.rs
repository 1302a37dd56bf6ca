//! The directories that a script may read files from.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::system::directory::{HeldDirectory, escapes_directory};
use crate::system::file::{FileKind, describe_io_error};
use crate::{Error, Result, bail, error};

/// The directories that a script may read files from: its own and those of `--read`. They are held
/// open, so that replacing one of their paths gives access to nothing else.
#[derive(Debug, Clone, Default)]
pub struct Readable(Vec<Root>);

#[derive(Debug, Clone)]
struct Root {
    folder: HeldDirectory,
    /// Its path without links when it was opened. Links and absolute paths that lead into the
    /// directory are recognised by it.
    canonical: PathBuf,
}

impl Readable {
    /// The given directories, in the order in which they are searched. One that no longer exists is
    /// left out.
    pub fn new(folders: impl IntoIterator<Item = HeldDirectory>) -> Self {
        let root = |folder: HeldDirectory| {
            Some(Root { canonical: std::fs::canonicalize(folder.path()).ok()?, folder })
        };
        Self(folders.into_iter().filter_map(root).collect())
    }

    /// Opens a directory by a path that is relative to one of the directories, or absolute and below
    /// one.
    ///
    /// # Errors
    /// There is no such directory, or it is outside of the directories.
    pub fn directory(&self, path: &str) -> Result<HeldDirectory> {
        let given = Path::new(path);
        for root in &self.0 {
            let inside = match given.strip_prefix(&root.canonical) {
                Ok(inside) => inside,
                Err(_) if given.is_absolute() => continue,
                Err(_) => given,
            };
            if let Ok(found) = root.folder.subdirectory(inside) {
                return Ok(found);
            }
        }
        Err(error!("there is no directory {path:?} beside the script")
            .help("--read DIR lets it read below DIR too"))
    }

    /// Opens a file by a path that is relative to one of the directories, or absolute and below
    /// one. Links and `..` are followed before the path is judged.
    ///
    /// # Errors
    /// There is no such file, it can't be read, or it is outside of the directories.
    pub fn open(&self, path: &str) -> Result<File> {
        if path.contains('\0') {
            bail!("{path:?} is no path");
        }
        let mut elsewhere = Path::new(path).is_absolute();
        for root in &self.0 {
            let cause = match root.folder.file(Path::new(path), FileKind::Data) {
                Ok(file) => return Ok(file),
                Err(cause) => cause,
            };
            if escapes_directory(&cause) {
                // The link may lead into another one of the directories.
                let Ok(found) = std::fs::canonicalize(root.canonical.join(path)) else { continue };
                let below = |root: &Root| {
                    Some((
                        root.folder.clone(),
                        found.strip_prefix(&root.canonical).ok()?.to_owned(),
                    ))
                };
                match self
                    .0
                    .iter()
                    .find_map(below)
                    .map(|(folder, inside)| folder.file(&inside, FileKind::Data))
                {
                    Some(Ok(file)) => return Ok(file),
                    Some(Err(cause)) if !escapes_directory(&cause) => {
                        return Err(refused(path, &cause));
                    }
                    _ => elsewhere = true,
                }
            } else if !is_missing(&cause) {
                return Err(refused(path, &cause));
            }
        }
        if elsewhere {
            return Err(error!("{path:?} is outside what this script may read")
                .help("a script reads beside itself; --read DIR lets it read below DIR too"));
        }
        Err(error!("there is no file {path:?} beside the script")
            .help("--read DIR lets it read below DIR too"))
    }
}

/// Whether there is nothing at a path; a link that leads back to itself counts as nothing.
fn is_missing(cause: &std::io::Error) -> bool {
    #[cfg(unix)]
    if cause.raw_os_error() == Some(libc::ELOOP) {
        return true;
    }
    matches!(
        cause.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename
    )
}

fn refused(path: &str, cause: &std::io::Error) -> Error {
    match cause.kind() {
        ErrorKind::IsADirectory | ErrorKind::InvalidInput => error!("{path:?} is no file"),
        _ => error!("{path:?} can't be read: {}", describe_io_error(cause)),
    }
}
