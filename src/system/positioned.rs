//! Reading a file from a position of one's own, so that several readers can share one open file.

use std::fs::File;
use std::io::{Read, Result};
use std::sync::Arc;

/// A reader with its own position in a file that others read too.
#[derive(Debug, Clone)]
pub struct Positioned {
    file: Arc<File>,
    at: u64,
}

impl Positioned {
    /// Reads `file` from its beginning.
    pub fn new(file: Arc<File>) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for Positioned {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let read = read_at(&self.file, into, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Reads bytes of a file that begin at `at`; fewer than asked for, or none at its end.
///
/// # Errors
/// That of the system call.
pub fn read_at(file: &File, into: &mut [u8], at: u64) -> Result<usize> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_at(file, into, at);
    #[cfg(windows)]
    return std::os::windows::fs::FileExt::seek_read(file, into, at);
}

/// Fills `into` with the bytes of a file that begin at `at`.
///
/// # Errors
/// That of the system call; or the file ends before.
pub fn read_exact_at(file: &File, mut into: &mut [u8], mut at: u64) -> Result<()> {
    while !into.is_empty() {
        match read_at(file, into, at) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                at += read as u64;
                into = &mut into[read..];
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
