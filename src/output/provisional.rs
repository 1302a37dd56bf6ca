//! Results that stand until a run that goes well takes their place, as while a script is watched: a
//! run that fails, or is broken off, leaves nothing of itself.

use super::compare::value::{of_files, of_tables};
use super::directory::Directory;
use super::format::save::Table;
use super::name::RECORD;
use crate::Result;

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

    /// Goes on in another directory, since the last is gone and with it the results.
    pub fn replace_directory(&mut self, directory: Directory) {
        *self = Self::new(directory);
    }

    /// Puts what stands in `stage` in the place of the last results, but for the record, which is
    /// to be written last: until then none speaks of files that are others. How the results
    /// differ from the last, a line each; nothing where there were none.
    ///
    /// # Errors
    /// It can't be moved.
    pub fn replace(&mut self, stage: &Directory, results: Results) -> Result<Option<Vec<String>>> {
        let differences =
            self.last.as_ref().map(|last| self.differences(last, stage, &results)).transpose()?;
        self.directory.remove(RECORD)?;
        for name in &results.files {
            self.directory.settle(stage, name)?;
        }
        for gone in self
            .last
            .iter()
            .flat_map(|last| &last.files)
            .filter(|name| !results.files.contains(name))
        {
            self.directory.remove(gone)?;
        }
        self.last = Some(results);
        Ok(differences)
    }

    fn differences(
        &self,
        last: &Results,
        stage: &Directory,
        results: &Results,
    ) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for name in &results.files {
            match last.files.contains(name) && self.directory.file(name).is_ok() {
                true => lines.extend(of_files(name, &self.directory, stage)?),
                false => lines.push(format!("{name} is new")),
            }
        }
        lines.extend(
            last.files
                .iter()
                .filter(|name| !results.files.contains(name))
                .map(|name| format!("{name} is gone")),
        );
        let name = |at: usize| match results.tables.len().max(last.tables.len()) {
            1 => "the table".to_owned(),
            _ => format!("table {}", at + 1),
        };
        for (at, new) in results.tables.iter().enumerate() {
            match last.tables.get(at) {
                Some(old) => {
                    lines.extend(of_tables(old, new).map(|line| format!("{}: {line}", name(at))))
                }
                None => lines.push(format!("{} is new", name(at))),
            }
        }
        lines.extend(
            (results.tables.len()..last.tables.len()).map(|at| format!("{} is gone", name(at))),
        );
        Ok(lines)
    }
}
