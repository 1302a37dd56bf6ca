//! Whether what is in the Hub's cache is what the Hub gave: every file against the hash that it is
//! kept under.

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

/// How deep folders of a commit are looked into.
const DEEPEST: usize = 32;

/// One file of the cache.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedFile {
    /// The repository: `owner/name`, with its kind in front where it is no model's.
    pub id: String,
    /// What the file is called in the commits that have it; nothing where none has.
    pub names: Vec<String>,
    pub path: PathBuf,
    pub bytes: u64,
    pub state: FileState,
}

#[derive(Debug, Clone, PartialEq)]
pub enum FileState {
    Good,
    /// It is not what it is kept as: why.
    Corrupt(String),
    /// Nothing tells: why.
    Unknown(String),
}

impl FileState {
    pub fn label(&self) -> &'static str {
        match self {
            FileState::Good => "good",
            FileState::Corrupt(_) => "corrupt",
            FileState::Unknown(_) => "can't tell",
        }
    }

    pub fn why(&self) -> Option<&str> {
        match self {
            FileState::Good => None,
            FileState::Corrupt(why) | FileState::Unknown(why) => Some(why),
        }
    }
}

/// Every file in the cache, of datasets too, by repository and name. Downloads that broke off are
/// none: they are checked when they are resumed.
///
/// # Errors
/// The work is to end. What can't be read is in the list.
pub fn verify_cache(cache: &Path) -> Result<Vec<CheckedFile>> {
    let mut files: Vec<CheckedFile> =
        subdirectories(cache).iter().filter_map(|path| repository(path)).flatten().collect();
    let waits = |file: &CheckedFile| file.state == FileState::Good;
    let line = progress_bar("checking");
    line.set_length(files.iter().filter(|file| waits(file)).map(|file| file.bytes).sum());
    let mut waiting: Vec<&mut CheckedFile> = files.iter_mut().filter(|file| waits(file)).collect();
    let states =
        parallel::map(waiting.len(), |i| contents(&waiting[i].path, |bytes| line.inc(bytes)));
    for (file, state) in waiting.iter_mut().zip(states) {
        file.state = state?;
    }
    line.finish_and_clear();
    files.sort_by(|a, b| (&a.id, &a.names, &a.path).cmp(&(&b.id, &b.names, &b.path)));
    Ok(files)
}

/// The files of one repository, good until they are read; nothing where the directory is none of a
/// repository.
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

/// Where a link leads, without `..` in it; nothing where there is no link.
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

/// What is below a folder, other than folders.
fn below(folder: &Path, prefix: &str, depth: usize) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < DEEPEST => {
                found.extend(below(&entry.path(), &format!("{name}/"), depth + 1));
            }
            _ => found.push((name, entry.path())),
        }
    }
    found
}

fn misplaced(found: &Metadata) -> String {
    match found.file_type() {
        kind if kind.is_symlink() => "it is a link, not a file".into(),
        _ => file::check(found, FileKind::Data)
            .err()
            .map_or_else(|| "it is no file".into(), |e| e.to_string()),
    }
}

/// Whether contents have the hash that their file is called by.
fn contents(path: &Path, come: impl FnMut(u64)) -> Result<FileState> {
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
    match hasher.read(&mut file, come) {
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

/// The sentence for a cache in which files are corrupt, and what to do; nothing where none is.
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
