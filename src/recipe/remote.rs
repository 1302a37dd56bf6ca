//! Fetching a recipe from the Hub: the script and what it imports from its repository, all of one
//! commit.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::lock_file::LockedRecipe;
use super::reference::Remote;
use crate::checkpoint::{Hub, Snapshot, check_path};
use crate::script::module_parts;
use crate::script::program::describe;
use crate::system::digest::sha256_hex;
use crate::system::file;
use crate::system::file::FileKind;
use crate::{Result, bail, error};

/// The largest script that is fetched, in bytes.
const LARGEST: u64 = 1 << 20;
/// The largest number of files that a recipe may have.
const MOST: usize = 64;

/// The files of a recipe at one commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Files {
    /// The commit: 40 hexadecimal digits.
    pub commit: String,
    /// The files' texts, by path in the repository.
    pub texts: BTreeMap<String, String>,
}

impl Files {
    /// The SHA-256 of each file, by path.
    pub fn hashes(&self) -> BTreeMap<String, String> {
        self.texts.iter().map(|(path, text)| (path.clone(), sha256_hex(text.as_bytes()))).collect()
    }
}

/// Fetches a recipe at the commit that its revision stands for now.
///
/// # Errors
/// There is no such repository, revision or file, the Hub can't be reached, or a file is not a
/// script.
pub fn fetch(hub: &Hub, remote: &Remote, offline: bool) -> Result<Files> {
    let path = remote.path.clone();
    let revision = remote.revision.as_deref();
    let snapshot = hub.fetch_named(
        &remote.repository,
        revision,
        offline,
        &remote.path,
        LARGEST,
        move |fetch, listed| {
            let listed: HashSet<&str> = listed.iter().map(String::as_str).collect();
            let mut waiting = vec![path];
            let mut known: Vec<String> = Vec::new();
            while let Some(path) = waiting.pop() {
                if known.contains(&path) {
                    continue;
                }
                if known.len() == MOST {
                    bail!("the recipe has more than {MOST} files");
                }
                let text = text(&fetch(&path)?, &path)?;
                waiting.extend(
                    beside(&path, &text)
                        .into_iter()
                        .filter(|import| listed.contains(import.as_str())),
                );
                known.push(path);
            }
            Ok(())
        },
    )?;
    read(snapshot, remote)
}

/// The files of a locked recipe, from the cache if they are there, checked against the lock file.
///
/// # Errors
/// As for [`fetch`]; or a file is not what was locked.
pub fn fetch_locked(hub: &Hub, locked: &LockedRecipe, offline: bool) -> Result<Files> {
    let pinned = Remote { revision: Some(locked.commit.clone()), ..locked.remote()? };
    let files = match hub.cached_snapshot(&pinned.repository, &locked.commit) {
        Some(snapshot)
            if locked.files.keys().all(|path| snapshot.directory.join(path).is_file()) =>
        {
            read(snapshot, &pinned)?
        }
        _ => fetch(hub, &pinned, offline)?,
    };
    locked.check(&files.texts)?;
    Ok(files)
}

fn read(snapshot: Snapshot, remote: &Remote) -> Result<Files> {
    let mut texts = BTreeMap::new();
    let mut waiting = vec![remote.path.clone()];
    while let Some(path) = waiting.pop() {
        let file = snapshot.directory.join(&path);
        if texts.contains_key(&path) || (path != remote.path && !file.is_file()) {
            continue;
        }
        let text = text(&file, &path).map_err(|e| e.at(remote))?;
        waiting.extend(beside(&path, &text));
        texts.insert(path, text);
    }
    Ok(Files { commit: snapshot.commit, texts })
}

/// The paths in the repository that the imports of the script at `path` may be at.
fn beside(path: &str, text: &str) -> Vec<String> {
    let folder = path.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
    let join = |import: String| {
        let parts: Option<Vec<&str>> =
            module_parts(&import).ok()?.into_iter().map(|part| part.to_str()).collect();
        let path = format!("{folder}{}.rhai", parts?.join("/"));
        check_path(&path).is_ok().then_some(path)
    };
    describe::imports(text).into_iter().filter_map(join).collect()
}

fn text(path: &Path, name: &str) -> Result<String> {
    let bytes =
        file::read(path, FileKind::Script).map_err(|e| error!("{name} can't be read: {e}"))?;
    if bytes.len() as u64 > LARGEST {
        bail!("{name} has {} bytes, and no script is larger than {LARGEST}", bytes.len());
    }
    String::from_utf8(bytes).map_err(|_| error!("{name} is not a script: its text is not UTF-8"))
}
