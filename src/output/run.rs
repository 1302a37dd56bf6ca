//! One run of a script as its output sees it: where it writes and reads, what it has saved, when it
//! started.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cap_std::fs::Dir;

use super::directory::{self, Directory};
use super::hashed::Hashed;
use super::items::{Item, Items};
use super::last_results::{LastResults, Results};
use super::name::{self, RECORD, REPORT};
use super::quota::{Metered, Quota};
use super::readable::Readable;
use super::record::{Record, Saved};
use crate::system::directory::HeldDirectory;
use crate::system::interrupt;
use crate::system::message::notice;
use crate::system::write::{write_all, write_json};
use crate::{Result, error};

/// The file of the rows that a script has recorded, one in JSON on each line.
pub const RECORDS: &str = "records.jsonl";

/// The name of a run that is not of a script file.
const SESSION: &str = "session";

/// The output of one run at a time. [`begin`](Run::begin) starts the next one.
pub struct Run {
    out: Option<PathBuf>,
    read: Vec<PathBuf>,
    silent: bool,
    /// Whether each run that has something to show leaves a page.
    report: bool,
    quota: Quota,
    state: RefCell<State>,
    /// Set by [`keep_results`](Run::keep_results): the results of the last successful run.
    last_results: RefCell<Option<LastResults>>,
}

struct State {
    directory: Directory,
    readable: Readable,
    files: Vec<Saved>,
    /// The folders of these files.
    folders: BTreeSet<String>,
    /// The rows that the script has recorded, as lines of JSON.
    records: Vec<u8>,
    /// How many files were written by what [`folder`](Run::folder) was given to.
    beside: usize,
    items: Items,
    /// How the results differ from those of the last successful run.
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
            records: Vec::new(),
            beside: 0,
            items: Items::default(),
            differences: None,
            began: Instant::now(),
            started: jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        }
    }
}

/// The name of a run of the script in a file.
fn stem(script: &Path) -> &str {
    script.file_stem().and_then(|stem| stem.to_str()).unwrap_or(SESSION)
}

/// The directory that was asked for, or a new one named after the run.
fn directory(out: Option<&Path>, name: &str) -> Directory {
    out.map_or_else(|| Directory::of_script(name), |out| Directory::new(out.to_owned()))
}

impl Run {
    /// Runs write to `out`, or to a new directory named after the script and the time, as much as
    /// `quota` allows. They read beside the script and below `read`. If `silent`, the directory is
    /// not announced on standard error. With `report` each run that has something to show leaves a
    /// page.
    pub fn new(
        out: Option<PathBuf>,
        read: Vec<PathBuf>,
        silent: bool,
        report: bool,
        quota: Quota,
    ) -> Self {
        let state =
            State::new(out.as_deref(), &read, SESSION, HeldDirectory::open(Path::new(".")).ok());
        Self {
            out,
            read,
            silent,
            report,
            quota,
            state: RefCell::new(state),
            last_results: RefCell::new(None),
        }
    }

    /// From the next run on, keeps the results of the last successful run in one directory and
    /// discards those of failed runs. The directory is `--out`, else `last`, else a new one.
    ///
    /// # Errors
    /// The directory that was asked for can't be written to.
    pub fn keep_results(&self, script: &Path, last: Option<PathBuf>) -> Result<()> {
        let out = self.out.clone().or(last);
        let directory = directory(out.as_deref(), stem(script));
        if out.is_some() {
            directory.prepare()?;
        }
        *self.last_results.borrow_mut() = Some(LastResults::new(directory));
        Ok(())
    }

    /// Starts a run of the script in the file `script`, which may read below `own`, its directory.
    ///
    /// # Errors
    /// The directory that was asked for can't be written to.
    pub fn begin(&self, script: &Path, own: Option<HeldDirectory>) -> Result<()> {
        self.begin_apart(stem(script), own)
    }

    /// Starts a run of a script that is not in a file. It is called `name`, and may read below
    /// `own` if that is given.
    ///
    /// # Errors
    /// As for [`begin`](Self::begin).
    pub fn begin_apart(&self, name: &str, own: Option<HeldDirectory>) -> Result<()> {
        self.start(State::new(self.out.as_deref(), &self.read, name, own))
    }

    fn start(&self, mut state: State) -> Result<()> {
        self.state.borrow().directory.release();
        let mut last_results = self.last_results.borrow_mut();
        if let Some(last_results) = &mut *last_results {
            if last_results.directory().is_gone() {
                last_results
                    .replace_directory(Directory::new(last_results.directory().path().to_owned()));
            }
            state.directory = last_results.directory().stage();
        } else if self.out.is_some() {
            state.directory.prepare()?;
        }
        *self.state.borrow_mut() = state;
        self.quota.renew();
        Ok(())
    }

    /// The path of the directory in which results are kept between runs; empty if there is none
    /// yet.
    pub fn kept_in(&self) -> PathBuf {
        let last_results = self.last_results.borrow();
        let directory = last_results
            .as_ref()
            .map(LastResults::directory)
            .filter(|directory| directory.is_open());
        directory.map(|directory| directory.path().to_owned()).unwrap_or_default()
    }

    /// The directories that the script may read from.
    pub fn readable(&self) -> Readable {
        self.state.borrow().readable.clone()
    }

    /// Saves a file; a second one of the same name replaces the first.
    ///
    /// # Errors
    /// As for [`Directory::write`]; or the quota is used up.
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
            self.quota.check_files(state.files.len() + state.folders.len() + state.beside + new)?;
            if state.files.is_empty() {
                // An earlier run's record and page would describe files that are about to change.
                state.directory.remove(RECORD)?;
                state.directory.remove(REPORT)?;
            }
            (state.directory.clone(), folders)
        };
        let mut sha256 = String::new();
        let path = directory.write(name, |to| {
            let mut metered = Metered::new(to, &self.quota);
            let mut hashed = Hashed::new(&mut metered);
            let written = write(&mut hashed);
            sha256 = hashed.digest();
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

    /// Records a row, which [`write_records`](Self::write_records) writes with the others.
    ///
    /// # Errors
    /// The quota does not allow it.
    pub fn record_row(&self, row: &serde_json::Map<String, serde_json::Value>) -> Result<()> {
        let line = serde_json::to_vec(row).map_err(|e| error!("{e}"))?;
        let records = &mut self.state.borrow_mut().records;
        self.quota.check(records.len() + line.len() + 1)?;
        records.extend_from_slice(&line);
        records.push(b'\n');
        Ok(())
    }

    /// Writes the rows that were recorded, if there are any.
    ///
    /// # Errors
    /// They can't be written, or the script has saved a file under their name.
    pub fn write_records(&self) -> Result<()> {
        let records = std::mem::take(&mut self.state.borrow_mut().records);
        if records.is_empty() {
            return Ok(());
        }
        if self.files().iter().any(|file| file.name == RECORDS) {
            return Err(error!(
                "record(…) writes {RECORDS}, and the script has saved a file of that name"
            )
            .help("save it under another name"));
        }
        self.write(RECORDS, |to| write_all(to, &records)).map(drop)
    }

    /// The run's directory and a new folder in it, for what writes files there beside the run.
    ///
    /// # Errors
    /// As for [`Directory::folder`]; or the run's results replace those of an earlier one when it has
    /// succeeded, and no folder can.
    pub fn folder(&self, name: &str) -> Result<(Dir, Dir)> {
        name::check_own(name)?;
        if self.last_results.borrow().is_some() {
            return Err(error!("{name} can't be written under --watch")
                .help("a run without --watch writes it"));
        }
        let state = self.state.borrow();
        if state.files.is_empty() {
            state.directory.remove(RECORD)?;
            state.directory.remove(REPORT)?;
        }
        state.directory.folder(name)
    }

    /// Counts files that were written beside the run.
    ///
    /// # Errors
    /// The quota does not allow as many: the run ends.
    pub fn count_files(&self, more: usize) -> Result<()> {
        let mut state = self.state.borrow_mut();
        state.beside += more;
        self.quota.check_files(state.files.len() + state.folders.len() + state.beside)
    }

    /// Uses up `bytes` bytes of what may be printed and saved.
    ///
    /// # Errors
    /// The quota does not allow them: the run ends.
    pub fn charge(&self, bytes: usize) -> Result<()> {
        self.quota.take(bytes)
    }

    /// Checks that `bytes` bytes may still be printed or saved.
    ///
    /// # Errors
    /// The quota does not allow them.
    pub fn check_room(&self, bytes: usize) -> Result<()> {
        self.quota.check(bytes)
    }

    /// `name.extension`, or the first of `name-2.extension`, `name-3.extension`, … that the run has
    /// not saved.
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

    /// The path of the run's output directory.
    pub fn directory(&self) -> PathBuf {
        self.state.borrow().directory.path().to_owned()
    }

    /// Keeps what was shown: for the run's page, and tables to compare them with the next run's.
    ///
    /// # Errors
    /// The quota does not allow what it adds to the page: the run ends.
    pub fn show(&self, item: Item) -> Result<()> {
        if self.report {
            self.quota.take(item.bytes())?;
        }
        if self.report || self.last_results.borrow().is_some() {
            self.state.borrow_mut().items.push(item);
        }
        Ok(())
    }

    /// How the results of the run that just ended differ from those of the last successful one, one
    /// difference per line; `None` if there was none.
    pub fn differences(&self) -> Option<Vec<String>> {
        self.state.borrow().differences.clone()
    }

    /// When the run started, in RFC 3339, and the seconds since.
    pub fn time(&self) -> (String, f64) {
        let state = self.state.borrow();
        (state.started.clone(), state.began.elapsed().as_secs_f64())
    }

    /// The files that the run has saved so far.
    pub fn files(&self) -> Vec<Saved> {
        self.state.borrow().files.clone()
    }

    /// Ends the run: writes its record and names its files on standard error.
    ///
    /// # Errors
    /// The record can't be written. That is only a warning if the run saved nothing and `--out` was
    /// not given.
    pub fn finish(&self, record: &Record) -> Result<()> {
        let stage = self.state.borrow().directory.clone();
        let finished = match &mut *self.last_results.borrow_mut() {
            Some(_) if !record.is_done() => Ok(None),
            Some(last_results) => self
                .settle(last_results, &stage, record)
                .map(|()| Some(last_results.directory().clone())),
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

    /// Replaces the last results by those of this run, and writes its record.
    fn settle(
        &self,
        last_results: &mut LastResults,
        stage: &Directory,
        record: &Record,
    ) -> Result<()> {
        let files = record.files.iter().map(|file| file.name.clone()).collect();
        let results = Results { files, tables: self.state.borrow().items.tables() };
        let differences = last_results.replace(stage, results)?;
        self.state.borrow_mut().differences = differences;
        self.record(last_results.directory(), record)
    }

    fn record(&self, directory: &Directory, record: &Record) -> Result<()> {
        let json = serde_json::to_value(record)
            .map_err(|e| error!("the run's record can't be written: {e}"))?;
        let written = directory.write(RECORD, |to| write_json(to, &json)).map(drop);
        match written.and_then(|()| self.write_report(directory, record)) {
            Err(error) if record.files.is_empty() && self.out.is_none() => {
                notice(format_args!("warning: the run is not recorded: {error}"));
                Ok(())
            }
            written => written,
        }
    }

    /// Writes the run's page if it is wanted and has something to show; else none stays of an
    /// earlier run.
    fn write_report(&self, directory: &Directory, record: &Record) -> Result<()> {
        #[cfg(feature = "pages")]
        if self.report {
            let items = self.take_items();
            if !items.is_empty() || !record.files.is_empty() {
                let page = super::page::report(record, &items);
                return directory.write(REPORT, |to| write_all(to, page.as_bytes())).map(drop);
            }
        }
        let _ = record;
        directory.remove(REPORT)
    }

    /// Takes what the run has shown.
    #[cfg(feature = "pages")]
    fn take_items(&self) -> Items {
        std::mem::take(&mut self.state.borrow_mut().items)
    }
}

/// Names separated by commas; of many, the first twenty and the number of the others.
fn list(names: &[&str]) -> String {
    const SHOWN: usize = 20;
    match names.get(..SHOWN) {
        Some(first) if names.len() > SHOWN + 1 => {
            format!("{} and {} more", first.join(", "), names.len() - SHOWN)
        }
        _ => names.join(", "),
    }
}
