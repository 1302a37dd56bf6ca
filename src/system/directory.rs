//! A directory that is held open. Files are opened relative to it, so that neither a directory that
//! replaces it nor a link inside it makes a read reach files outside.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use super::file;
use super::file::FileKind;

/// A directory held open. A clone shares the handle.
#[derive(Debug, Clone)]
pub struct HeldDirectory {
    path: PathBuf,
    dir: Arc<Dir>,
}

impl HeldDirectory {
    /// Opens the directory at `path`; an empty path is the working directory.
    ///
    /// # Errors
    /// There is no directory at `path`, or it can't be opened.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_named(path, path)
    }

    /// Opens the directory at `path`; [`path`](Self::path) returns `name`.
    ///
    /// # Errors
    /// There is no directory at `path`, or it can't be opened.
    pub fn open_named(path: &Path, name: &Path) -> Result<Self> {
        let or_current = |path: &'_ Path| match path.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => path.to_owned(),
        };
        let dir = Dir::open_ambient_dir(or_current(path), ambient_authority())?;
        Ok(Self::from_open(&or_current(name), dir))
    }

    /// A directory that is already open. `path` is its name in messages.
    pub fn from_open(path: &Path, dir: Dir) -> Self {
        Self { path: path.to_owned(), dir: Arc::new(dir) }
    }

    /// Opens the directory that contains `file`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn parent_of(file: &Path) -> Result<Self> {
        Self::open(file.parent().unwrap_or(Path::new("")))
    }

    /// The path that it was opened by, for messages. Something else may be there by now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a directory below this one; an empty path is this directory itself.
    ///
    /// # Errors
    /// There is no such directory, or a link or `..` leads out of this one.
    pub fn subdirectory(&self, inside: &Path) -> Result<Self> {
        if inside.as_os_str().is_empty() {
            return Ok(self.clone());
        }
        Ok(Self { path: self.path.join(inside), dir: Arc::new(self.dir.open_dir(inside)?) })
    }

    /// Opens a regular file below this directory for reading, and never blocks, not even on a pipe.
    /// Links are followed if they stay below this directory.
    ///
    /// # Errors
    /// There is no such file, it is not a regular file, it is larger than `kind` allows, or a link
    /// or `..` leads out of the directory; see [`escapes_directory`].
    pub fn file(&self, inside: &Path, kind: FileKind) -> Result<File> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use cap_std::fs::OpenOptionsExt;
            options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        }
        let file = self.dir.open_with(inside, &options)?.into_std();
        file::check(&file.metadata()?, kind)?;
        Ok(file)
    }

    /// The names of the entries of this directory, in no particular order.
    ///
    /// # Errors
    /// The directory can't be listed.
    pub fn names(&self) -> Result<Vec<PathBuf>> {
        self.dir.entries()?.map(|entry| Ok(PathBuf::from(entry?.file_name()))).collect()
    }

    /// Opens a regular file directly in this directory, and follows links wherever they lead. For
    /// directories whose links are trusted, as those of the Hub's cache.
    ///
    /// # Errors
    /// As [`file`](Self::file) but for links, and if `name` is more than a name.
    pub fn file_through_links(&self, name: &str, kind: FileKind) -> Result<File> {
        if name.is_empty() || name == ".." || name.contains('/') {
            return Err(Error::new(ErrorKind::InvalidInput, "it is no name of a file"));
        }
        let file = self.opened(name)?;
        file::check(&file.metadata()?, kind)?;
        Ok(file)
    }

    #[cfg(unix)]
    fn opened(&self, name: &str) -> Result<File> {
        use std::os::fd::{AsRawFd, FromRawFd};
        let name = std::ffi::CString::new(name).map_err(|_| ErrorKind::InvalidInput)?;
        let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
        // SAFETY: `self.dir` keeps its descriptor open during the call, and `name` is a
        // NUL-terminated string that outlives it. A descriptor other than -1 is new, so this `File`
        // is its only owner.
        unsafe {
            match libc::openat(self.dir.as_raw_fd(), name.as_ptr(), flags) {
                -1 => Err(Error::last_os_error()),
                file => Ok(File::from_raw_fd(file)),
            }
        }
    }

    #[cfg(not(unix))]
    fn opened(&self, name: &str) -> Result<File> {
        File::open(self.path.join(name))
    }
}

/// Whether `cause` is the error of a path that leads out of its [`HeldDirectory`]. cap-std reports
/// that as a denied permission without a number from the system.
pub fn escapes_directory(cause: &Error) -> bool {
    cause.kind() == ErrorKind::PermissionDenied && cause.raw_os_error().is_none()
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    fn text(file: Result<File>) -> String {
        let mut text = String::new();
        file.unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn only_what_is_below_is_read() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        std::fs::create_dir_all(path("in/deep")).unwrap();
        std::fs::write(path("in/deep/x"), "inside").unwrap();
        std::fs::write(path("x"), "outside").unwrap();
        symlink("deep/x", path("in/link")).unwrap();
        symlink("../x", path("in/out")).unwrap();
        symlink("..", path("in/up")).unwrap();
        symlink(path("x"), path("in/absolute")).unwrap();
        let folder = HeldDirectory::open(&path("in")).unwrap();
        let file = |name: &str| folder.file(Path::new(name), FileKind::Script);
        for name in ["deep/x", "link", "deep/../link", "./deep/x"] {
            assert_eq!(text(file(name)), "inside", "{name}");
        }
        for name in ["out", "up/x", "../x", "absolute", "deep/../../x", "/etc/passwd"] {
            assert!(escapes_directory(&file(name).unwrap_err()), "{name}");
        }
        assert_eq!(file("deep").unwrap_err().kind(), ErrorKind::IsADirectory);
        assert_eq!(file("nothing").unwrap_err().kind(), ErrorKind::NotFound);
        assert!(folder.subdirectory(Path::new("up")).is_err());
        assert_eq!(text(folder.file_through_links("out", FileKind::Script)), "outside");
        for name in ["../x", "deep/x", "..", "", "a\0"] {
            assert_eq!(
                folder.file_through_links(name, FileKind::Script).unwrap_err().kind(),
                ErrorKind::InvalidInput,
                "{name:?}"
            );
        }
        // The held directory is still read after it was moved, and not the one in its place.
        std::fs::rename(path("in"), path("moved")).unwrap();
        std::fs::create_dir_all(path("in/deep")).unwrap();
        std::fs::write(path("in/deep/x"), "another").unwrap();
        assert_eq!(text(file("deep/x")), "inside");
    }
}
