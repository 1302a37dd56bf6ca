//! Verifies the Hub's cache: each file against the hash that is its name.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};

use super::cache::subdirectories;
use super::hash::{Hash, Hasher};
use super::progress::progress_bar;
use crate::kernel::cpu::parallel;
use crate::system::file;
use crate::system::file::FileKind;
use crate::{Result, error};

/// How deep a snapshot's directories are searched.
const MAX_DEPTH: usize = 32;

/// A file of the cache and what its verification found.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedFile {
    /// The repository: `owner/name`, or `datasets/owner/name` if it is not a model's.
    pub id: String,
    /// Its names in the snapshots that link to it; empty if none does.
    pub names: Vec<String>,
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// What was found.
    pub state: FileState,
}

/// The outcome of verifying a file.
#[derive(Debug, Clone, PartialEq)]
pub enum FileState {
    /// Its contents have the hash that is its name.
    Good,
    /// It does not, for this reason.
    Corrupt(String),
    /// It can't be verified, for this reason.
    Unknown(String),
}

impl FileState {
    /// The state in a word or two.
    pub fn label(&self) -> &'static str {
        match self {
            FileState::Good => "good",
            FileState::Corrupt(_) => "corrupt",
            FileState::Unknown(_) => "can't tell",
        }
    }

    /// The reason, unless the file is good.
    pub fn why(&self) -> Option<&str> {
        match self {
            FileState::Good => None,
            FileState::Corrupt(why) | FileState::Unknown(why) => Some(why),
        }
    }
}

/// Verifies every file in the cache, also those of datasets, on all cores. Sorted by repository and
/// name. Incomplete downloads are left out: they are checked when they are resumed.
///
/// # Errors
/// The run was interrupted. A file that can't be read is in the list.
pub fn verify_cache(cache: &Path) -> Result<Vec<CheckedFile>> {
    let mut files: Vec<CheckedFile> =
        subdirectories(cache).iter().filter_map(|path| repository(path)).flatten().collect();
    let is_unread = |file: &CheckedFile| file.state == FileState::Good;
    let line = progress_bar("checking");
    line.set_length(files.iter().filter(|file| is_unread(file)).map(|file| file.bytes).sum());
    let mut waiting: Vec<&mut CheckedFile> =
        files.iter_mut().filter(|file| is_unread(file)).collect();
    let states =
        parallel::map(waiting.len(), |i| verify_blob(&waiting[i].path, |bytes| line.inc(bytes)));
    for (file, state) in waiting.iter_mut().zip(states) {
        file.state = state?;
    }
    line.finish_and_clear();
    files.sort_by(|a, b| (&a.id, &a.names, &a.path).cmp(&(&b.id, &b.names, &b.path)));
    Ok(files)
}

/// The files of the repository in a directory, good until they are read; nothing if the directory
/// is not a repository's.
fn repository(path: &Path) -> Option<Vec<CheckedFile>> {
    let (kind, id) = path.file_name()?.to_str()?.split_once("--")?;
    let id = match kind {
        "models" => id.replace("--", "/"),
        "datasets" | "spaces" | "kernels" => format!("{kind}/{}", id.replace("--", "/")),
        _ => return None,
    };
    let blobs = path.join("blobs");
    let mut names: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    let mut files = Vec::new();
    for commit in subdirectories(&path.join("snapshots")) {
        for (name, place) in below(&commit, "", 0) {
            let Ok(found) = std::fs::symlink_metadata(&place) else { continue };
            let (state, bytes) = match target(&place) {
                Some(blob) if blob.parent() == Some(&blobs) && blob.exists() => {
                    names.entry(blob).or_default().push(name);
                    continue;
                }
                Some(blob) if blob.parent() == Some(&blobs) => {
                    (FileState::Unknown("its contents are not here".into()), 0)
                }
                Some(elsewhere) => (
                    FileState::Corrupt(format!(
                        "it is a link that leads out of the cache, to {}",
                        elsewhere.display()
                    )),
                    0,
                ),
                None if found.is_file() => (
                    FileState::Unknown("it is no link to contents under their hash".into()),
                    found.len(),
                ),
                None => (FileState::Corrupt(misplaced(&found)), 0),
            };
            files.push(CheckedFile {
                id: id.clone(),
                names: vec![name],
                path: place,
                bytes,
                state,
            });
        }
    }
    for entry in std::fs::read_dir(&blobs).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(found) = std::fs::symlink_metadata(&path) else { continue };
        if path.extension().is_some_and(|ending| ending == "incomplete") {
            continue;
        }
        let state =
            if found.is_file() { FileState::Good } else { FileState::Corrupt(misplaced(&found)) };
        let mut names = names.remove(&path).unwrap_or_default();
        names.sort();
        names.dedup();
        files.push(CheckedFile { id: id.clone(), names, path, bytes: found.len(), state });
    }
    Some(files)
}

/// The target of a link with `..` resolved; nothing if it is no link.
fn target(link: &Path) -> Option<PathBuf> {
    let target = std::fs::read_link(link).ok()?;
    let mut path = link.parent()?.to_owned();
    for part in target.components() {
        match part {
            std::path::Component::ParentDir => drop(path.pop()),
            part => path.push(part),
        }
    }
    Some(path)
}

/// The names and paths of everything below a directory but directories.
fn below(folder: &Path, prefix: &str, depth: usize) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < MAX_DEPTH => {
                found.extend(below(&entry.path(), &format!("{name}/"), depth + 1));
            }
            _ => found.push((name, entry.path())),
        }
    }
    found
}

/// Why something that is not a regular file is wrong here.
fn misplaced(found: &Metadata) -> String {
    match found.file_type() {
        kind if kind.is_symlink() => "it is a link, not a file".into(),
        _ => file::check(found, FileKind::Data)
            .err()
            .map_or_else(|| "it is no file".into(), |e| e.to_string()),
    }
}

/// Hashes a blob and compares the hash with its name. `progress` is called with the size of each
/// block.
fn verify_blob(path: &Path, progress: impl FnMut(u64)) -> Result<FileState> {
    let Some(hash) = path.file_name().and_then(|name| Hash::parse(name.to_str()?)) else {
        return Ok(FileState::Unknown("its name is no hash".into()));
    };
    let opened =
        file::open(path, FileKind::Data).and_then(|file| Ok((file.metadata()?.len(), file)));
    let (length, mut file): (u64, File) = match opened {
        Ok(opened) => opened,
        Err(e) => return Ok(FileState::Unknown(format!("it can't be read: {e}"))),
    };
    let mut hasher = Hasher::new(Some(&hash), length);
    match hasher.read(&mut file, progress) {
        Err(error) if error.ends_the_run() => return Err(error),
        Err(error) => return Ok(FileState::Unknown(error.message().into())),
        Ok(()) => {}
    }
    let found = hasher.finish();
    Ok(if found.matches(&hash) {
        FileState::Good
    } else {
        FileState::Corrupt(format!("its hash is {}", found.hash.digits()))
    })
}

/// The error for a cache with corrupt files, with the files to delete; nothing if there is none.
pub fn corruption_error(files: &[CheckedFile]) -> Option<crate::Error> {
    let corrupt: Vec<&CheckedFile> =
        files.iter().filter(|file| matches!(file.state, FileState::Corrupt(_))).collect();
    let paths: Vec<String> =
        corrupt.iter().map(|file| format!("\n    {}", file.path.display())).collect();
    let (are, them) = if corrupt.len() == 1 { ("is", "it") } else { ("are", "them") };
    (!corrupt.is_empty()).then(|| {
        error!("{} of the {} files in the cache {are} corrupt", corrupt.len(), files.len()).help(
            format!(
                "delete {them}, and the next run that needs {them} fetches {them} again:{}",
                paths.concat()
            ),
        )
    })
}
