//! Results that stand until a run that goes well takes their place, as while a script is watched: a run that fails, or is
//! broken off, leaves nothing of itself.

use std::fs::File;
use std::path::Path;

use tempfile::TempDir;

use super::difference::{of_files, of_tables};
use super::directory::Directory;
use super::save::Table;
use crate::{Result, error};

pub struct Standing {
    directory: Directory,
    last: Option<Results>,
}

/// What a run saved, by name, and the tables that it showed.
#[derive(Default)]
pub struct Results {
    pub files: Vec<String>,
    pub tables: Vec<Table>,
}

impl Standing {
    /// Nothing yet, in `directory`.
    pub fn new(directory: Directory) -> Self {
        Self { directory, last: None }
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Where a run writes until it is known how it ends: beside the directory.
    ///
    /// # Errors
    /// Nothing can be written there.
    pub fn stage(&self) -> Result<TempDir> {
        let path = self.directory.path();
        let beside = path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(beside)
            .and_then(|()| tempfile::Builder::new().prefix(".precompute-").tempdir_in(beside))
            .map_err(|e| error!("{} can't be written to: {e}", beside.display()))
    }

    /// Puts what stands in `stage` in the place of the last results. How it differs from them, a line each; nothing where
    /// there were none.
    ///
    /// # Errors
    /// It can't be moved.
    pub fn replace(&mut self, stage: &Path, results: Results, record: &str) -> Result<Option<Vec<String>>> {
        let differences = self.last.as_ref().map(|last| self.differences(last, stage, &results)).transpose()?;
        for name in results.files.iter().map(String::as_str).chain([record]) {
            let mut staged = File::open(stage.join(name)).map_err(|e| error!("{name} can't be read: {e}"))?;
            self.directory.write(name, |to| std::io::copy(&mut staged, to).map(drop).map_err(|e| error!("{e}")))?;
        }
        for gone in self.last.iter().flat_map(|last| &last.files).filter(|name| !results.files.contains(name)) {
            let _ = std::fs::remove_file(self.directory.path().join(gone));
        }
        self.last = Some(results);
        Ok(differences)
    }

    fn differences(&self, last: &Results, stage: &Path, results: &Results) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for name in &results.files {
            let before = self.directory.path().join(name);
            match last.files.contains(name) && before.is_file() {
                true => lines.extend(of_files(name, &before, &stage.join(name))?),
                false => lines.push(format!("{name} is new")),
            }
        }
        lines.extend(
            last.files.iter().filter(|name| !results.files.contains(name)).map(|name| format!("{name} is gone")),
        );
        let name = |at: usize| match results.tables.len().max(last.tables.len()) {
            1 => "the table".to_owned(),
            _ => format!("table {}", at + 1),
        };
        for (at, new) in results.tables.iter().enumerate() {
            match last.tables.get(at) {
                Some(old) => lines.extend(of_tables(old, new).map(|line| format!("{}: {line}", name(at)))),
                None => lines.push(format!("{} is new", name(at))),
            }
        }
        lines.extend((results.tables.len()..last.tables.len()).map(|at| format!("{} is gone", name(at))));
        Ok(lines)
    }
}
