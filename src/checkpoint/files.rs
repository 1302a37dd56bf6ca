//! A checkpoint's files by name, wherever they are.

use std::io::ErrorKind;
use std::path::Path;

use memmap2::Mmap;
use serde_json::{Map, Value};

use crate::system::directory::HeldDirectory;
use crate::system::file;
use crate::system::file::{FileKind, describe_io_error};
use crate::{Error, Result, bail, error};

pub enum Files {
    /// Held open: what is read of it is of one directory, even if another comes to stand under its
    /// path.
    Directory(HeldDirectory),
    /// Inside the binary: names and contents.
    Embedded(&'static [(&'static str, &'static [u8])]),
}

/// A file's bytes, not copied.
pub enum Bytes {
    Mapped(Mmap),
    Embedded(&'static [u8]),
}

impl Bytes {
    pub fn get(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Embedded(bytes) => bytes,
        }
    }

    /// Lets go of the pages of a part that has been copied out, so that weights do not stand in
    /// memory twice.
    pub fn release(&self, start: usize, length: usize) {
        #[cfg(unix)]
        if let Bytes::Mapped(map) = self {
            // Only whole pages within the part may go; advice that fails costs nothing but memory.
            const PAGE: usize = 4096;
            let (first, end) = (start.next_multiple_of(PAGE), (start + length) / PAGE * PAGE);
            if first < end {
                // SAFETY: the mapping is of a file and read-only, so a dropped page is read again
                // when it is touched.
                let _ = unsafe {
                    map.unchecked_advise_range(
                        memmap2::UncheckedAdvice::DontNeed,
                        first,
                        end - first,
                    )
                };
            }
        }
    }
}

impl Files {
    /// Opens the files of a directory.
    ///
    /// # Errors
    /// There is no such directory, or it can't be read.
    pub fn of(directory: &Path) -> Result<Self> {
        Self::of_named(directory, directory)
    }

    /// As [`of`](Self::of); messages call the directory `name`.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_named(directory: &Path, name: &Path) -> Result<Self> {
        match HeldDirectory::open_named(directory, name) {
            Ok(opened) => Ok(Self::Directory(opened)),
            Err(e) => Err(error!("{} can't be read: {}", name.display(), describe_io_error(&e))),
        }
    }

    pub fn contains(&self, name: &str) -> bool {
        match self {
            Files::Directory(directory) => {
                directory.file_through_links(name, FileKind::Data).is_ok()
            }
            Files::Embedded(files) => files.iter().any(|(known, _)| *known == name),
        }
    }

    /// A small file's contents, or nothing where there is no such file.
    ///
    /// # Errors
    /// It can't be read, or is far larger than such a file is.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match self {
            Files::Embedded(files) => {
                Ok(files.iter().find(|(known, _)| *known == name).map(|(_, bytes)| bytes.to_vec()))
            }
            Files::Directory(directory) => {
                let kind = file_kind(name);
                match directory
                    .file_through_links(name, kind)
                    .and_then(|file| file::read_open(&file, kind))
                {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
                    Err(e) => Err(unread(directory, name, &e)),
                }
            }
        }
    }

    /// # Errors
    /// As [`read`](Self::read), and what is not a JSON map.
    pub fn json(&self, name: &str) -> Result<Option<Map<String, Value>>> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        match serde_json::from_slice(&bytes) {
            Ok(map) => Ok(Some(map)),
            Err(e) => bail!("{name} is not a map in JSON: {e}"),
        }
    }

    /// # Errors
    /// There is no such file, or it can't be mapped.
    pub fn map(&self, name: &str) -> Result<Bytes> {
        match self {
            Files::Embedded(files) => match files.iter().find(|(known, _)| *known == name) {
                Some((_, bytes)) => Ok(Bytes::Embedded(bytes)),
                None => bail!("there is no file {name}"),
            },
            Files::Directory(directory) => {
                let cannot = |e: std::io::Error| unread(directory, name, &e);
                let file = directory.file_through_links(name, FileKind::Data).map_err(cannot)?;
                if file.metadata().map_err(cannot)?.len() == 0 {
                    return Ok(Bytes::Embedded(&[]));
                }
                // SAFETY: the file is opened for reading only; one that is cut short while it is
                // mapped is beyond help.
                Ok(Bytes::Mapped(unsafe { Mmap::map(&file) }.map_err(cannot)?))
            }
        }
    }

    /// What to call the place in a message.
    pub fn describe(&self) -> String {
        match self {
            Files::Directory(directory) => directory.path().display().to_string(),
            Files::Embedded(_) => "the embedded model".into(),
        }
    }
}

fn unread(directory: &HeldDirectory, name: &str, cause: &std::io::Error) -> Error {
    error!("{} can't be read: {}", directory.path().join(name).display(), describe_io_error(cause))
}

/// What a checkpoint's file of that name is.
pub fn file_kind(name: &str) -> FileKind {
    match name {
        _ if name.ends_with(".safetensors") || name.ends_with(".bin") => FileKind::Data,
        "tokenizer.json" | "vocab.json" | "merges.txt" => FileKind::Tokenizer,
        _ if name.ends_with(".index.json") => FileKind::Tokenizer,
        _ => FileKind::Config,
    }
}
