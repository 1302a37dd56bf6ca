//! One run of a script: where it may write and read, what it has saved, when it began.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::directory::{self, Directory};
use super::format::load::Readable;
use super::format::save::Table;
use super::name::{self, RECORD};
use super::provisional::{Results, Standing};
use super::quota::{Metered, Quota};
use super::record::{Record, Saved};
use crate::system::digest::hex;
use crate::system::directory::HeldDirectory;
use crate::system::interrupt;
use crate::system::message::notice;
use crate::system::write::write_json;
use crate::{Result, error};

/// What a run is called that has no other name.
const SESSION: &str = "session";

pub struct Run {
    out: Option<PathBuf>,
    read: Vec<PathBuf>,
    silent: bool,
    quota: Quota,
    state: RefCell<State>,
    /// Where the results of the last run that went well stand until another goes well.
    standing: RefCell<Option<Standing>>,
}

struct State {
    directory: Directory,
    readable: Readable,
    files: Vec<Saved>,
    /// The folders that these are in.
    folders: BTreeSet<String>,
    tables: Vec<Table>,
    /// How the results differ from the last ones.
    differences: Option<Vec<String>>,
    began: Instant,
    started: String,
}

impl State {
    fn new(out: Option<&Path>, read: &[PathBuf], name: &str, own: Option<HeldDirectory>) -> Self {
        let named = read.iter().filter_map(|path| HeldDirectory::open(path).ok());
        Self {
            directory: directory(out, name),
            readable: Readable::new(own.into_iter().chain(named)),
            files: Vec::new(),
            folders: BTreeSet::new(),
            tables: Vec::new(),
            differences: None,
            began: Instant::now(),
            started: jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        }
    }
}

/// What a run of the script in a file is called.
fn stem(script: &Path) -> &str {
    script.file_stem().and_then(|stem| stem.to_str()).unwrap_or(SESSION)
}

/// The one that was asked for, or one that is named after the run.
fn directory(out: Option<&Path>, name: &str) -> Directory {
    out.map_or_else(|| Directory::of_script(name), |out| Directory::new(out.to_owned()))
}

impl Run {
    /// Writes into `out`, or a directory named after the script and the time, as much as `quota`
    /// allows; reads beside the script and below `read`. Where it is silent, it does not say
    /// where the results are.
    pub fn new(out: Option<PathBuf>, read: Vec<PathBuf>, silent: bool, quota: Quota) -> Self {
        let state =
            State::new(out.as_deref(), &read, SESSION, HeldDirectory::open(Path::new(".")).ok());
        Self { out, read, silent, quota, state: RefCell::new(state), standing: RefCell::new(None) }
    }

    /// From the next run on, all runs write into one directory, and of a run that fails nothing is
    /// kept there: into `last`, where it is given, unless another directory was asked for.
    ///
    /// # Errors
    /// The output directory that was asked for can't be written to.
    pub fn keep_results(&self, script: &Path, last: Option<PathBuf>) -> Result<()> {
        let out = self.out.clone().or(last);
        let directory = directory(out.as_deref(), stem(script));
        if out.is_some() {
            directory.prepare()?;
        }
        *self.standing.borrow_mut() = Some(Standing::new(directory));
        Ok(())
    }

    /// Starts anew, for the script in the file `script`, which reads below `own`, the directory
    /// that it is in.
    ///
    /// # Errors
    /// The output directory that was asked for can't be written to.
    pub fn begin(&self, script: &Path, own: Option<HeldDirectory>) -> Result<()> {
        self.begin_apart(stem(script), own)
    }

    /// Starts anew, for a script called `name` that is in no file, and reads below `own` if below
    /// any directory of its own.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn begin_apart(&self, name: &str, own: Option<HeldDirectory>) -> Result<()> {
        self.start(State::new(self.out.as_deref(), &self.read, name, own))
    }

    fn start(&self, mut state: State) -> Result<()> {
        self.state.borrow().directory.release();
        let mut standing = self.standing.borrow_mut();
        if let Some(standing) = &mut *standing {
            if standing.directory().is_gone() {
                standing.replace_directory(Directory::new(standing.directory().path().to_owned()));
            }
            state.directory = standing.directory().stage();
        } else if self.out.is_some() {
            state.directory.prepare()?;
        }
        *self.state.borrow_mut() = state;
        self.quota.renew();
        Ok(())
    }

    /// The directory in which results are kept, where there is one yet.
    pub fn kept_in(&self) -> PathBuf {
        let standing = self.standing.borrow();
        let directory =
            standing.as_ref().map(Standing::directory).filter(|directory| directory.is_open());
        directory.map(|directory| directory.path().to_owned()).unwrap_or_default()
    }

    pub fn readable(&self) -> Readable {
        self.state.borrow().readable.clone()
    }

    /// Saves a file; a second of the same name takes the first's place.
    ///
    /// # Errors
    /// As [`Directory::write`], and what the quota says.
    pub fn write(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> Result<()>,
    ) -> Result<PathBuf> {
        name::check_own(name)?;
        let (directory, folders) = {
            let state = self.state.borrow();
            let mut folders = directory::folders(name);
            folders.retain(|folder| !state.folders.contains(folder));
            let new =
                folders.len() + usize::from(!state.files.iter().any(|file| file.name == name));
            self.quota.check_files(state.files.len() + state.folders.len() + new)?;
            if state.files.is_empty() {
                // One of an earlier run, which would speak of files that are others from now on.
                state.directory.remove(RECORD)?;
            }
            (state.directory.clone(), folders)
        };
        let mut sha256 = String::new();
        let path = directory.write(name, |to| {
            let mut metered = Metered::new(to, &self.quota);
            let mut hashed = Hashed { to: &mut metered, digest: Sha256::new() };
            let written = write(&mut hashed);
            sha256 = hex(&hashed.digest.finalize());
            metered.finish().and(written).and(interrupt::check_failed())
        })?;
        let State { files, folders: known, .. } = &mut *self.state.borrow_mut();
        known.extend(folders);
        match files.iter_mut().find(|known| known.name == name) {
            Some(known) => known.sha256 = sha256,
            None => files.push(Saved { name: name.to_owned(), sha256 }),
        }
        Ok(path)
    }

    /// # Errors
    /// So many bytes are more than the run may still print and save.
    pub fn check_room(&self, bytes: usize) -> Result<()> {
        self.quota.check(bytes)
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
        if self.standing.borrow().is_some() {
            self.state.borrow_mut().tables.push(table);
        }
    }

    /// How the results of the run that ended differ from those of the one that went well before it,
    /// a line each; nothing where there was none, or none are kept.
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
        let stage = self.state.borrow().directory.clone();
        let finished = match &mut *self.standing.borrow_mut() {
            Some(_) if !record.is_done() => Ok(None),
            Some(standing) => {
                self.settle(standing, &stage, record).map(|()| Some(standing.directory().clone()))
            }
            None => self.record(&stage, record).map(|()| Some(stage.clone())),
        };
        stage.release();
        let Some(directory) = finished? else { return Ok(()) };
        let names: Vec<String> = record.files.iter().map(|file| file.name.clone()).collect();
        if !names.is_empty() && !self.silent {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            notice(format_args!("wrote {}: {}", directory.path().display(), list(&names)));
        }
        Ok(())
    }

    /// Puts the results where the last ones were.
    fn settle(&self, standing: &mut Standing, stage: &Directory, record: &Record) -> Result<()> {
        let mut state = self.state.borrow_mut();
        let files = record.files.iter().map(|file| file.name.clone()).collect();
        let results = Results { files, tables: std::mem::take(&mut state.tables) };
        state.differences = standing.replace(stage, results)?;
        self.record(standing.directory(), record)
    }

    fn record(&self, directory: &Directory, record: &Record) -> Result<()> {
        let json = serde_json::to_value(record)
            .map_err(|e| error!("the run's record can't be written: {e}"))?;
        let written = directory.write(RECORD, |to| write_json(to, &json)).map(drop);
        match written {
            Err(error) if record.files.is_empty() && self.out.is_none() => {
                notice(format_args!("warning: the run is not recorded: {error}"));
                Ok(())
            }
            written => written,
        }
    }
}

/// Names between commas; of many, the first and how many more.
fn list(names: &[&str]) -> String {
    const SHOWN: usize = 20;
    match names.get(..SHOWN) {
        Some(first) if names.len() > SHOWN + 1 => {
            format!("{} and {} more", first.join(", "), names.len() - SHOWN)
        }
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
