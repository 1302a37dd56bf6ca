//! The runs below some directories, as their files are now.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value as Json;

use crate::output::name::{RECORD, REPORT};
use crate::output::record::Record;
use crate::system::digest::sha256_hex;
use crate::system::directory::HeldDirectory;
use crate::system::file::{self, FileKind, describe_io_error};
use crate::{Result, bail, error};

/// The file of a run's directory that holds what a person has noted about it.
pub const NOTE: &str = "note.md";

/// How deep below a given directory runs are looked for, and how many are listed.
const DEEPEST: usize = 4;
const MOST: usize = 5_000;

/// A run in a list.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// What its address calls it.
    pub id: String,
    /// Its directory.
    pub path: String,
    script: String,
    models: Vec<String>,
    parameters: serde_json::Map<String, Json>,
    started: String,
    seconds: f64,
    outcome: String,
    files: usize,
    /// Whether it has a page.
    page: bool,
    note: String,
}

/// The directories of the runs below `roots`, each once.
pub fn directories(roots: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    roots.iter().for_each(|root| look(root, 0, &mut found));
    found.sort();
    found.dedup();
    found
}

fn look(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    if found.len() >= MOST {
        return;
    }
    if directory.join(RECORD).is_file() {
        found.push(directory.to_owned());
        return;
    }
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        // A link might lead around in a circle.
        if depth < DEEPEST && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            look(&entry.path(), depth + 1, found);
        }
    }
}

/// What an address calls the run in a directory.
pub fn id(directory: &Path) -> String {
    sha256_hex(directory.to_string_lossy().as_bytes())[..16].to_owned()
}

/// The runs below `roots`, the newest first. A directory whose record can't be read is none.
pub fn list(roots: &[PathBuf]) -> Vec<Run> {
    let mut runs: Vec<Run> =
        directories(roots).iter().filter_map(|directory| read(directory).ok()).collect();
    let when = |run: &Run| run.started.parse::<jiff::Timestamp>().ok();
    runs.sort_by(|a, b| when(b).cmp(&when(a)).then_with(|| a.path.cmp(&b.path)));
    runs
}

fn read(directory: &Path) -> Result<Run> {
    let record = Record::read(&directory.join(RECORD))?;
    Ok(Run {
        id: id(directory),
        path: directory.display().to_string(),
        script: record.script.path,
        models: record.models.into_iter().map(|model| model.id).collect(),
        parameters: record.parameters.into_iter().collect(),
        started: record.started,
        seconds: record.seconds,
        outcome: record.outcome,
        files: record.files.len(),
        page: directory.join(REPORT).is_file(),
        note: note(directory).unwrap_or_default(),
    })
}

/// What is noted about a run.
fn note(directory: &Path) -> Option<String> {
    let held = HeldDirectory::open(directory).ok()?;
    let bytes = held.file(Path::new(NOTE), FileKind::Config).ok()?;
    String::from_utf8(file::read_open(&bytes, FileKind::Config).ok()?).ok()
}

/// Notes something about a run; an empty text takes the note away.
///
/// # Errors
/// The file can't be written, or the run has saved one of its name.
pub fn write_note(directory: &Path, text: &str) -> Result<()> {
    if own_files(directory)?.iter().any(|name| name == NOTE) {
        bail!("the run has saved a file {NOTE} itself, which a note would replace");
    }
    let path = directory.join(NOTE);
    let written = match text.trim().is_empty() {
        true => match fs::remove_file(&path) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(cause),
            _ => Ok(()),
        },
        false => tempfile::NamedTempFile::new_in(directory).and_then(|mut file| {
            std::io::Write::write_all(&mut file, text.as_bytes())?;
            file.persist(&path).map(drop).map_err(|failed| failed.error)
        }),
    };
    written.map_err(|e| error!("{} can't be written: {}", path.display(), describe_io_error(&e)))
}

/// The files that a run says it saved.
fn own_files(directory: &Path) -> Result<Vec<String>> {
    let record = Record::read(&directory.join(RECORD))?;
    Ok(record.files.into_iter().map(|file| file.name).collect())
}

/// Deletes a run: what its record names, its record, page and note, and the directory if nothing else
/// is in it. Returns what stays.
///
/// # Errors
/// There is no run, or a file can't be deleted.
pub fn delete(directory: &Path) -> Result<Vec<String>> {
    let named = own_files(directory)?;
    let cannot = |name: &str, cause: &std::io::Error| {
        error!("{} can't be deleted: {}", directory.join(name).display(), describe_io_error(cause))
    };
    // The handle keeps a link in a name from leading elsewhere; a record is what a stranger may have
    // written.
    let held = cap_std::fs::Dir::open_ambient_dir(directory, cap_std::ambient_authority())
        .map_err(|cause| cannot("", &cause))?;
    let own = [REPORT.to_owned(), NOTE.to_owned(), RECORD.to_owned()];
    for name in named.iter().filter(|name| crate::output::name::check(name).is_ok()).chain(&own) {
        match held.remove_file(name) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                return Err(cannot(name, &cause));
            }
            _ => {}
        }
        // Folders of which this was the last file.
        for (end, _) in name.rmatch_indices('/') {
            let _ = held.remove_dir(&name[..end]);
        }
    }
    let left = held.entries().map_err(|cause| cannot("", &cause))?.flatten();
    let left: Vec<String> = left.map(|it| it.file_name().to_string_lossy().into_owned()).collect();
    if left.is_empty() {
        drop(held);
        fs::remove_dir(directory).map_err(|cause| cannot("", &cause))?;
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::record::Versions;
    use serde_json::json;

    fn run(directory: &Path, started: &str, files: &[&str]) {
        fs::create_dir_all(directory).unwrap();
        let files: Vec<Json> =
            files.iter().map(|name| json!({"name": name, "sha256": ""})).collect();
        let record = json!({
            "script": {"path": "a.rhai", "sha256": "", "text": ""}, "imports": [],
            "parameters": {"n": 2}, "command": {"set": {}, "model": null, "device": null, "dtype": null},
            "models": [], "first_seed": 1, "seed": 1, "versions": Versions::CURRENT,
            "started": started, "seconds": 1.0, "outcome": "done", "files": files,
        });
        fs::write(directory.join(RECORD), record.to_string()).unwrap();
    }

    #[test]
    fn runs_are_listed_newest_first() {
        let home = tempfile::tempdir().unwrap();
        // Later, though its text sorts before the other's.
        run(&home.path().join("a/late"), "2026-01-01T00:30:00-02:00", &[]);
        run(&home.path().join("b"), "2026-01-01T01:00:00+00:00", &[]);
        fs::create_dir_all(home.path().join("broken")).unwrap();
        fs::write(home.path().join("broken").join(RECORD), "{").unwrap();
        let roots = [home.path().to_owned(), home.path().join("b")];
        let paths: Vec<String> = list(&roots).into_iter().map(|run| run.path).collect();
        assert_eq!(paths.len(), 2, "{paths:?}");
        assert!(paths[0].ends_with("late"));
    }

    #[cfg(unix)]
    #[test]
    fn a_deleted_run_takes_nothing_else_with_it() {
        let home = tempfile::tempdir().unwrap();
        let (outside, inside) = (home.path().join("outside"), home.path().join("run"));
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("x"), "kept").unwrap();
        run(
            &inside,
            "2026-01-01T00:00:00+00:00",
            &["deep/a.csv", "link/x", "../outside/x", "/etc/passwd"],
        );
        fs::create_dir(inside.join("deep")).unwrap();
        fs::write(inside.join("deep/a.csv"), "").unwrap();
        fs::write(inside.join("mine.txt"), "kept").unwrap();
        write_note(&inside, "# remember").unwrap();
        assert_eq!(list(std::slice::from_ref(&inside))[0].note, "# remember");
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        assert!(delete(&inside).is_err(), "a link that leads out is refused");
        fs::remove_file(inside.join("link")).unwrap();
        assert_eq!(delete(&inside).unwrap(), ["mine.txt"]);
        assert!(outside.join("x").exists() && inside.join("mine.txt").exists());
        assert!(!inside.join("deep").exists() && !inside.join(RECORD).exists());
        run(&inside, "2026-01-01T00:00:00+00:00", &[]);
        fs::remove_file(inside.join("mine.txt")).unwrap();
        assert_eq!(delete(&inside).unwrap(), [""; 0]);
        assert!(!inside.exists());
    }
}
