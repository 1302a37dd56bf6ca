//! A checkpoint's files by name, in a directory or inside the binary.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use memmap2::Mmap;
use serde_json::{Map, Value};

use crate::system::directory::HeldDirectory;
use crate::system::file;
use crate::system::file::{FileKind, describe_io_error};
use crate::{Error, Result, bail, error};

/// Where a checkpoint's files are read from.
pub enum Files {
    /// A directory, held open: all files are of the same directory, even if its path is given to
    /// another meanwhile.
    Directory(HeldDirectory),
    /// Files inside the binary: names and contents.
    Embedded(&'static [(&'static str, &'static [u8])]),
    /// Files that the metadata of another file, `of`, stand for.
    Made { of: String, files: BTreeMap<String, Vec<u8>> },
}

/// A file's bytes, without a copy.
pub enum Bytes {
    /// A mapping of the file.
    Mapped(Mmap),
    /// Part of the binary.
    Embedded(&'static [u8]),
}

impl Bytes {
    /// Maps a file into memory.
    ///
    /// # Errors
    /// That of the system call.
    pub fn map(file: &File) -> std::io::Result<Self> {
        if file.metadata()?.len() == 0 {
            return Ok(Bytes::Embedded(&[]));
        }
        // SAFETY: a mapping is sound as long as nobody changes the file while it is mapped. This
        // process never writes to files in place: the Hub's cache and the output directory write
        // new files and rename them. That other programs leave tensors alone meanwhile is up to the
        // user, as with every reader that maps .safetensors files.
        Ok(Bytes::Mapped(unsafe { Mmap::map(file) }?))
    }

    /// All bytes.
    pub fn get(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Embedded(bytes) => bytes,
        }
    }

    /// Lets the system drop the pages of a part that has been copied out, so that weights are not
    /// in memory twice. `start` and `length` are in bytes. The part can still be read.
    pub fn release(&self, start: usize, length: usize) {
        #[cfg(unix)]
        if let Bytes::Mapped(map) = self {
            // Only whole pages inside the part; the result does not matter, as failure only costs
            // memory.
            const PAGE: usize = 4096;
            let (first, end) = (start.next_multiple_of(PAGE), (start + length) / PAGE * PAGE);
            if first < end {
                // SAFETY: the range lies inside the mapping, which is read-only and backed by a
                // file, so that a dropped page is read from the file again when it is touched. No
                // reference into it becomes invalid.
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

    /// Whether there is a regular file of that name.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Files::Directory(directory) => {
                directory.file_through_links(name, FileKind::Data).is_ok()
            }
            Files::Embedded(files) => files.iter().any(|(known, _)| *known == name),
            Files::Made { files, .. } => files.contains_key(name),
        }
    }

    /// The contents of a small file; nothing if there is no such file.
    ///
    /// # Errors
    /// It can't be read, or is larger than its [kind](file_kind) allows.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match self {
            Files::Embedded(files) => {
                Ok(files.iter().find(|(known, _)| *known == name).map(|(_, bytes)| bytes.to_vec()))
            }
            Files::Made { files, .. } => Ok(files.get(name).cloned()),
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

    /// The JSON map in a small file; nothing if there is no such file.
    ///
    /// # Errors
    /// As [`read`](Self::read), and if it is not a map in JSON.
    pub fn json(&self, name: &str) -> Result<Option<Map<String, Value>>> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        match serde_json::from_slice(&bytes) {
            Ok(map) => Ok(Some(map)),
            // Python writes numbers that JSON does not have.
            Err(e) => match serde_json::from_slice(&with_quoted_numbers(&bytes)) {
                Ok(map) => Ok(Some(map)),
                Err(_) => bail!("{name} is not a map in JSON: {e}"),
            },
        }
    }

    /// Maps a file into memory.
    ///
    /// # Errors
    /// There is no such file, or it can't be mapped.
    pub fn map(&self, name: &str) -> Result<Bytes> {
        match self {
            Files::Embedded(files) => match files.iter().find(|(known, _)| *known == name) {
                Some((_, bytes)) => Ok(Bytes::Embedded(bytes)),
                None => bail!("there is no file {name}"),
            },
            Files::Made { of, .. } => bail!("{of} stands for no file {name}"),
            Files::Directory(directory) => {
                let cannot = |e: std::io::Error| unread(directory, name, &e);
                let file = directory.file_through_links(name, FileKind::Data).map_err(cannot)?;
                Bytes::map(&file).map_err(cannot)
            }
        }
    }

    /// The place of the files, for messages.
    pub fn describe(&self) -> String {
        match self {
            Files::Directory(directory) => directory.path().display().to_string(),
            Files::Embedded(_) => "the embedded model".into(),
            Files::Made { of, .. } => of.clone(),
        }
    }
}

/// JSON as Python writes it, in which `NaN`, `Infinity` and `-Infinity` may stand for numbers, with
/// these as strings: a field that is read refuses them, and another is none the worse.
fn with_quoted_numbers(json: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(json.len());
    let (mut at, mut in_string) = (0, false);
    while let Some(&byte) = json.get(at) {
        let rest = &json[at..];
        let number = [&b"NaN"[..], b"Infinity", b"-Infinity"];
        match number.into_iter().find(|number| !in_string && rest.starts_with(number)) {
            Some(number) => {
                quoted.extend([b"\"", number, b"\""].concat());
                at += number.len();
            }
            None => {
                // What follows a backslash ends no string.
                let length = if in_string && byte == b'\\' { rest.len().min(2) } else { 1 };
                in_string ^= byte == b'"';
                quoted.extend(&rest[..length]);
                at += length;
            }
        }
    }
    quoted
}

fn unread(directory: &HeldDirectory, name: &str, cause: &std::io::Error) -> Error {
    error!("{} can't be read: {}", directory.path().join(name).display(), describe_io_error(cause))
}

/// The kind of the checkpoint's file of that name, which determines how large it may be.
pub fn file_kind(name: &str) -> FileKind {
    match name {
        _ if name.ends_with(".safetensors") || name.ends_with(".bin") => FileKind::Data,
        "tokenizer.json" | "vocab.json" | "merges.txt" | "tokenizer.model" => FileKind::Tokenizer,
        _ if name.ends_with(".index.json") => FileKind::Tokenizer,
        _ => FileKind::Config,
    }
}
