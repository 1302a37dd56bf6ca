//! One run of a script: where it may write and read, what it has saved, when it began.

use std::cell::RefCell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::directory::Directory;
use super::load::Readable;
use super::quota::{Metered, Quota};
use super::record::{Record, Saved, hexadecimal};
use super::save::{Table, write_json};
use super::standing::{Results, Standing};
use crate::notice::notice;
use crate::{Result, bail, error};

/// The record's name, which nothing else may have.
const RECORD: &str = "run.json";

pub struct Run {
    out: Option<PathBuf>,
    read: Vec<PathBuf>,
    silent: bool,
    quota: Quota,
    state: RefCell<State>,
    keeping: RefCell<Keeping>,
}

/// Whether the results of the last run that went well stand until another goes well.
enum Keeping {
    Not,
    /// From the next run on.
    Asked,
    Standing(Standing),
}

struct State {
    directory: Directory,
    /// Holds the directory, where it is not known yet whether what is written stays.
    stage: Option<TempDir>,
    readable: Readable,
    files: Vec<Saved>,
    tables: Vec<Table>,
    /// How the results differ from the last ones.
    differences: Option<Vec<String>>,
    began: Instant,
    started: String,
}

impl State {
    fn new(out: Option<&Path>, read: &[PathBuf], script: Option<&Path>) -> Self {
        let stem = script.and_then(|path| path.file_stem()).and_then(|stem| stem.to_str()).unwrap_or("session");
        let beside = script.and_then(Path::parent).filter(|path| !path.as_os_str().is_empty());
        Self::of(out, read, stem, Some(beside.unwrap_or(Path::new("."))))
    }

    fn of(out: Option<&Path>, read: &[PathBuf], name: &str, own: Option<&Path>) -> Self {
        Self {
            directory: match out {
                Some(out) => Directory::new(out.to_owned()),
                None => Directory::of_script(name),
            },
            readable: Readable(own.map(Path::to_owned).into_iter().chain(read.iter().cloned()).collect()),
            stage: None,
            files: Vec::new(),
            tables: Vec::new(),
            differences: None,
            began: Instant::now(),
            started: jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        }
    }
}

impl Run {
    /// Writes into `out`, or a directory named after the script and the time, as much as `quota` allows; reads beside the
    /// script and below `read`. Where it is silent, it does not say where the results are.
    pub fn new(out: Option<PathBuf>, read: Vec<PathBuf>, silent: bool, quota: Quota) -> Self {
        let state = State::new(out.as_deref(), &read, None);
        Self { out, read, silent, quota, state: RefCell::new(state), keeping: RefCell::new(Keeping::Not) }
    }

    /// From the next run on, all runs write into one directory, and of a run that fails nothing is kept there.
    pub fn keep_results(&self) {
        *self.keeping.borrow_mut() = Keeping::Asked;
    }

    /// Starts anew, for the script in `script`.
    ///
    /// # Errors
    /// The output directory that was asked for can't be written to.
    pub fn begin(&self, script: Option<&Path>) -> Result<()> {
        self.start(State::new(self.out.as_deref(), &self.read, script))
    }

    /// Starts anew, for a script called `name` that is in no file, and reads below `own` if below any directory of its own.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn begin_apart(&self, name: &str, own: Option<&Path>) -> Result<()> {
        self.start(State::of(self.out.as_deref(), &self.read, name, own))
    }

    fn start(&self, mut state: State) -> Result<()> {
        if self.out.is_some() {
            state.directory.prepare()?;
        }
        let mut keeping = self.keeping.borrow_mut();
        if matches!(*keeping, Keeping::Asked) {
            *keeping = Keeping::Standing(Standing::new(state.directory.clone()));
        }
        if let Keeping::Standing(standing) = &*keeping {
            let stage = standing.stage()?;
            state.directory = Directory::new(stage.path().to_owned());
            state.stage = Some(stage);
        }
        *self.state.borrow_mut() = state;
        self.quota.renew();
        Ok(())
    }

    pub fn readable(&self) -> Readable {
        self.state.borrow().readable.clone()
    }

    /// Saves a file; a second of the same name takes the first's place.
    ///
    /// # Errors
    /// As [`Directory::write`], and what the quota says.
    pub fn write(&self, name: &str, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<PathBuf> {
        if name.eq_ignore_ascii_case(RECORD) {
            bail!("{RECORD} is the run's own record: save under another name");
        }
        let directory = self.state.borrow().directory.clone();
        self.quota.check_files(self.state.borrow().files.len())?;
        let mut sha256 = String::new();
        let path = directory.write(name, |to| {
            let mut metered = Metered::new(to, &self.quota);
            let mut hashed = Hashed { to: &mut metered, digest: Sha256::new() };
            let written = write(&mut hashed);
            sha256 = hexadecimal(&hashed.digest.finalize());
            metered.finish().and(written)
        })?;
        let files = &mut self.state.borrow_mut().files;
        match files.iter_mut().find(|known| known.name == name) {
            Some(known) => known.sha256 = sha256,
            None => files.push(Saved { name: name.to_owned(), sha256 }),
        }
        Ok(path)
    }

    /// `name.extension`, or `name-2.extension` where that is taken.
    pub fn unused(&self, name: &str, extension: &str) -> String {
        let files = &self.state.borrow().files;
        let candidates = (1..).map(|n| match n {
            1 => format!("{name}.{extension}"),
            n => format!("{name}-{n}.{extension}"),
        });
        candidates
            .into_iter()
            .find(|candidate| !files.iter().any(|file| file.name == *candidate))
            .unwrap_or_else(|| format!("{name}.{extension}"))
    }

    /// Where it saves.
    pub fn directory(&self) -> PathBuf {
        self.state.borrow().directory.path().to_owned()
    }

    /// Notes a table that was shown.
    pub fn show(&self, table: Table) {
        if self.state.borrow().stage.is_some() {
            self.state.borrow_mut().tables.push(table);
        }
    }

    /// How the results of the run that ended differ from those of the one that went well before it, a line each; nothing
    /// where there was none, or none are kept.
    pub fn differences(&self) -> Option<Vec<String>> {
        self.state.borrow().differences.clone()
    }

    /// When the run began, and how many seconds it has taken.
    pub fn time(&self) -> (String, f64) {
        let state = self.state.borrow();
        (state.started.clone(), state.began.elapsed().as_secs_f64())
    }

    pub fn files(&self) -> Vec<Saved> {
        self.state.borrow().files.clone()
    }

    /// Writes the record, and says on standard error where the results are.
    ///
    /// # Errors
    /// It can't be written, and the run has written other files or was told where to.
    pub fn finish(&self, record: &Record) -> Result<()> {
        let staged = self.state.borrow_mut().stage.take();
        if staged.is_some() && !record.is_done() {
            return Ok(());
        }
        let directory = self.state.borrow().directory.clone();
        let json = serde_json::to_value(record).map_err(|e| error!("the run's record can't be written: {e}"))?;
        let written = directory.write(RECORD, |to| write_json(&json, to));
        if let Err(error) = written {
            if !record.files.is_empty() || self.out.is_some() {
                return Err(error);
            }
            notice(format_args!("warning: the run is not recorded: {error}"));
            return Ok(());
        }
        let names: Vec<String> = record.files.iter().map(|file| file.name.clone()).collect();
        let directory = match (&mut *self.keeping.borrow_mut(), staged) {
            (Keeping::Standing(standing), Some(stage)) => {
                let mut state = self.state.borrow_mut();
                let results = Results { files: names.clone(), tables: std::mem::take(&mut state.tables) };
                state.differences = standing.replace(stage.path(), results, RECORD)?;
                standing.directory().clone()
            }
            _ => directory,
        };
        if !names.is_empty() && !self.silent {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            notice(format_args!("wrote {}: {}", directory.path().display(), list(&names)));
        }
        Ok(())
    }
}

/// Names between commas; of many, the first and how many more.
fn list(names: &[&str]) -> String {
    const SHOWN: usize = 20;
    match names.get(..SHOWN) {
        Some(first) if names.len() > SHOWN + 1 => format!("{} and {} more", first.join(", "), names.len() - SHOWN),
        _ => names.join(", "),
    }
}

/// Passes on what is written, and keeps its SHA-256.
struct Hashed<'a> {
    to: &'a mut dyn Write,
    digest: Sha256,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}
