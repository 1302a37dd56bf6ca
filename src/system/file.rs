//! Files that others wrote: whatever is read is a regular file, opened without waiting, of a size
//! that its kind may have.
//!
//! A pipe would hold up whoever opens it, a device has no end, and a file may grow while it is
//! read.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

use bytesize::ByteSize;

/// What a file is, and so how large it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// config.json and the other small files of a checkpoint.
    Config,
    /// tokenizer.json, vocab.json, merges.txt, and the index of a checkpoint's shards.
    Tokenizer,
    /// A script or a module.
    Script,
    /// precompute.lock, and what else this program remembers.
    Lock,
    /// run.json, and the other texts of a run that was.
    Record,
    /// The names and shapes in a pickled checkpoint.
    Pickle,
    /// Tensors, tables and weights: whoever reads them asks whether they fit.
    Data,
}

impl FileKind {
    /// The most bytes that such a file may have.
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

/// Opens a regular file for reading, at once whatever stands there.
///
/// # Errors
/// The system's, and what is no regular file or larger than its kind may be.
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

/// # Errors
/// What is no regular file, or larger than its kind may be.
pub fn check(found: &Metadata, kind: FileKind) -> Result<()> {
    if found.is_dir() {
        return Err(Error::new(ErrorKind::IsADirectory, "it is a directory"));
    }
    if !found.is_file() {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("it is {}, not a file", what(found)),
        ));
    }
    if found.len() > kind.max_bytes() {
        return Err(too_large(kind, Some(found.len())));
    }
    Ok(())
}

/// The contents of a regular file.
///
/// # Errors
/// As [`open`], and a file that grows beyond what its kind may be.
pub fn read(path: &Path, kind: FileKind) -> Result<Vec<u8>> {
    read_open(&open(path, kind)?, kind)
}

/// The contents of a file that was opened and checked, from where it stands: no more than it has
/// when it is begun, should it grow.
///
/// # Errors
/// The system's, and a file that has more than its kind may.
pub fn read_open(file: &File, kind: FileKind) -> Result<Vec<u8>> {
    let announced = file.metadata()?.len();
    // A file of the kernel's own, which tells no size, is read as far as its kind goes.
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

/// The contents of a regular file that is UTF-8.
///
/// # Errors
/// As [`read`], and what is not UTF-8.
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
fn what(found: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = found.file_type();
    match () {
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }
}

#[cfg(not(unix))]
fn what(_found: &Metadata) -> &'static str {
    "a device"
}

/// What the system says of a file, as a part of a sentence: without its number, and with what to do
/// where a person can do something.
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
