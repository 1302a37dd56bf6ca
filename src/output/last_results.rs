//! The results of the last successful run of a watched script. They stay until another run succeeds
//! and replaces them; a run that fails or is interrupted changes nothing.

use super::compare;
use super::directory::Directory;
use super::format::table::Table;
use super::name::{RECORD, REPORT};
use crate::system::file;
use crate::system::file::{FileKind, describe_io_error};
use crate::{Result, error};

/// The directory that holds the last successful run's results, and what they are.
pub struct LastResults {
    directory: Directory,
    last: Option<Results>,
}

/// What a run has produced.
#[derive(Default)]
pub struct Results {
    /// The names of the saved files.
    pub files: Vec<String>,
    /// The tables that were printed, in order.
    pub tables: Vec<Table>,
}

impl LastResults {
    /// No results yet; later ones go to `directory`.
    pub fn new(directory: Directory) -> Self {
        Self { directory, last: None }
    }

    /// The directory that holds the results.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Continues in another directory after the last one was deleted, with no results yet.
    pub fn replace_directory(&mut self, directory: Directory) {
        *self = Self::new(directory);
    }

    /// Replaces the last results by those in `stage`. The record is removed first and written by
    /// the caller afterwards, so that no record ever describes files of another run. Returns the
    /// differences from the last results, one per line, or `None` if these are the first.
    ///
    /// # Errors
    /// A file can't be compared or moved.
    pub fn replace(&mut self, stage: &Directory, results: Results) -> Result<Option<Vec<String>>> {
        let differences =
            self.last.as_ref().map(|last| self.differences(last, stage, &results)).transpose()?;
        self.directory.remove(RECORD)?;
        self.directory.remove(REPORT)?;
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
                true => lines.extend(self.differences_of(name, stage)?),
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
                    let lines_of = compare::tables(old, new).lines();
                    lines.extend(lines_of.iter().map(|line| format!("{}: {line}", name(at))))
                }
                None => lines.push(format!("{} is new", name(at))),
            }
        }
        lines.extend(
            (results.tables.len()..last.tables.len()).map(|at| format!("{} is gone", name(at))),
        );
        Ok(lines)
    }

    /// How the file `name` in `stage` differs from the last one of that name, one difference per
    /// line.
    fn differences_of(&self, name: &str, stage: &Directory) -> Result<Vec<String>> {
        let bytes = |directory: &Directory| {
            file::read_open(&directory.file(name)?, FileKind::Data)
                .map_err(|e| error!("{name} can't be read: {}", describe_io_error(&e)))
        };
        if bytes(&self.directory)? == bytes(stage)? {
            return Ok(Vec::new());
        }
        let compared = compare::files(name, &self.directory.file(name)?, &stage.file(name)?)?;
        let lines = match compared.lines() {
            none if none.is_empty() => vec![compare::SAME_VALUES.to_owned()],
            lines => lines,
        };
        Ok(lines.into_iter().map(|line| format!("{name}: {line}")).collect())
    }
}
