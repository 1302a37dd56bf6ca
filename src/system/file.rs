//! Reads files that others may have made: only regular files, opened without blocking, and no more
//! bytes than a file of that kind may have.
//!
//! Opening a pipe would block, a device may have no end, and a file may grow while it is read.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

use bytesize::ByteSize;

/// What a file contains, which determines how large it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// config.json and other small files of a checkpoint.
    Config,
    /// tokenizer.json, vocab.json, merges.txt, or the index of a checkpoint's shards.
    Tokenizer,
    /// A script or a module.
    Script,
    /// precompute.lock and the program's own data files.
    Lock,
    /// run.json and the other text files of an earlier run.
    Record,
    /// data.pkl in a PyTorch checkpoint: the names and shapes of its tensors.
    Pickle,
    /// Tensors, tables and weights. Not limited here: the reader checks whether they fit in memory.
    Data,
}

impl FileKind {
    /// The most bytes that a file of this kind may have.
    pub const fn max_bytes(self) -> u64 {
        match self {
            FileKind::Config | FileKind::Script | FileKind::Lock => 16 << 20,
            FileKind::Pickle => 64 << 20,
            FileKind::Tokenizer => 256 << 20,
            FileKind::Record => 1 << 30,
            FileKind::Data => u64::MAX,
        }
    }
}

/// Opens a regular file for reading, without blocking.
///
/// # Errors
/// It can't be opened, is not a regular file, or is larger than `kind` allows.
pub fn open(path: &Path, kind: FileKind) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    }
    let file = options.open(path)?;
    check(&file.metadata()?, kind)?;
    Ok(file)
}

/// Checks that an open file may be read as `kind`.
///
/// # Errors
/// It is not a regular file, or larger than `kind` allows.
pub fn check(found: &Metadata, kind: FileKind) -> Result<()> {
    if found.is_dir() {
        return Err(Error::new(ErrorKind::IsADirectory, "it is a directory"));
    }
    if !found.is_file() {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("it is {}, not a file", type_name(found)),
        ));
    }
    if found.len() > kind.max_bytes() {
        return Err(too_large(kind, Some(found.len())));
    }
    Ok(())
}

/// Reads a regular file.
///
/// # Errors
/// As [`open`], and if it can't be read or does not fit in memory.
pub fn read(path: &Path, kind: FileKind) -> Result<Vec<u8>> {
    read_open(&open(path, kind)?, kind)
}

/// Reads the rest of a file that [`open`] opened. If it grows meanwhile, reads as many bytes as it
/// had at the beginning.
///
/// # Errors
/// It can't be read, has more bytes than `kind` allows, or does not fit in memory.
pub fn read_open(file: &File, kind: FileKind) -> Result<Vec<u8>> {
    let announced = file.metadata()?.len();
    // A file in /proc says that its size is 0. It is read up to the limit of its kind.
    let most = if announced == 0 {
        kind.max_bytes().min(FileKind::Tokenizer.max_bytes())
    } else {
        announced
    };
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(usize::try_from(announced).unwrap_or(usize::MAX))
        .map_err(|_| ErrorKind::OutOfMemory)?;
    file.take(most).read_to_end(&mut bytes)?;
    if announced == 0 && bytes.len() as u64 == most && file.take(1).read(&mut [0])? > 0 {
        return Err(too_large(kind, None));
    }
    Ok(bytes)
}

/// Reads a regular file of UTF-8 text.
///
/// # Errors
/// As [`read`], and if it is not UTF-8.
pub fn read_text(path: &Path, kind: FileKind) -> Result<String> {
    String::from_utf8(read(path, kind)?)
        .map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}

fn too_large(kind: FileKind, has: Option<u64>) -> Error {
    let size = |bytes: u64| ByteSize(bytes).display().iec();
    let has = has.map_or_else(|| "it has no end".into(), |bytes| format!("it has {}", size(bytes)));
    Error::new(
        ErrorKind::FileTooLarge,
        format!("{has}, and such a file at most {}", size(kind.max_bytes())),
    )
}

#[cfg(unix)]
fn type_name(found: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = found.file_type();
    match () {
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }
}

#[cfg(not(unix))]
fn type_name(_found: &Metadata) -> &'static str {
    "a device"
}

/// The system's error as part of a sentence: without its number, and with advice where the user can
/// do something.
pub fn describe_io_error(cause: &Error) -> String {
    #[cfg(unix)]
    match cause.raw_os_error() {
        Some(libc::EMFILE) => {
            return "this process has as many files open as it may (`ulimit -n` allows more)"
                .into();
        }
        Some(libc::ENFILE) => return "as many files are open as the system allows".into(),
        Some(libc::EFBIG) => return "File too large (`ulimit -f` allows larger ones)".into(),
        _ => {}
    }
    let said = match cause.kind() {
        ErrorKind::StorageFull => "the disk is full".into(),
        ErrorKind::QuotaExceeded => "the disk quota is used up".into(),
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        ErrorKind::PermissionDenied => "permission denied".into(),
        _ => cause.to_string(),
    };
    match (said.rfind(" (os error "), cause.raw_os_error()) {
        (Some(end), Some(_)) => said[..end].to_owned(),
        _ => said,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let home = tempfile::tempdir().unwrap();
        let pipe = home.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let large = home.path().join("large");
        File::create(&large).unwrap().set_len(FileKind::Config.max_bytes() + 1).unwrap();
        let said = |path: &Path| read(path, FileKind::Config).unwrap_err().to_string();
        assert_eq!(said(&pipe), "it is a pipe, not a file");
        assert_eq!(said(Path::new("/dev/zero")), "it is a device, not a file");
        assert_eq!(said(home.path()), "it is a directory");
        assert_eq!(said(&large), "it has 16.0 MiB, and such a file at most 16.0 MiB");
        assert_eq!(
            read(&home.path().join("none"), FileKind::Config).unwrap_err().kind(),
            ErrorKind::NotFound
        );
        let small = home.path().join("small");
        std::fs::write(&small, "text").unwrap();
        assert_eq!(read_text(&small, FileKind::Config).unwrap(), "text");
        let link = home.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        assert_eq!(said(&link), "it is a pipe, not a file");
    }
}
