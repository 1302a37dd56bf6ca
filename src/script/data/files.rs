//! The files that a script reads data from: beside the script, below `--read`, or from the Hub.

use std::cell::RefCell;
use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use crate::checkpoint::{Hub, Snapshot};
use crate::data::hub_reference::{HUB, HubReference};
use crate::data::layout;
use crate::data::rows::RowFile;
use crate::output::{Run, record};
use crate::script::run::settings::Settings;
use crate::system::file;
use crate::system::file::{FileKind, describe_io_error};
use crate::{Result, bail, error};

/// Where the Hub keeps what it has converted of each data set.
const CONVERTED: &str = "refs/convert/parquet";

/// The files of a session's data, and the repositories of the Hub that its runs have read.
pub struct DataFiles {
    settings: Settings,
    run: Rc<Run>,
    used: RefCell<Vec<record::HubData>>,
}

impl DataFiles {
    /// With none read.
    pub fn new(settings: Settings, run: Rc<Run>) -> Self {
        Self { settings, run, used: RefCell::default() }
    }

    /// Starts a new run.
    pub fn begin(&self) {
        self.used.borrow_mut().clear();
    }

    /// The repositories that the run in progress has read from.
    pub fn used(&self) -> Vec<record::HubData> {
        self.used.borrow().clone()
    }

    /// Opens a file: of the Hub if `path` is `hf:…`, else beside the script or below `--read`.
    ///
    /// # Errors
    /// There is no such file, or the script may not read it.
    pub fn open(&self, path: &str) -> Result<File> {
        if !path.starts_with(HUB) {
            return self.run.readable().open(path);
        }
        let reference = self.checked(path)?;
        let Some(inside) = &reference.path else {
            return Err(error!("{path} is a whole data set")
                .help("name a file of it: hf:datasets/owner/repo/path"));
        };
        self.fetch(&reference, inside)
    }

    /// The files with the rows of `path`; a data set of the Hub has several, and its `config` and
    /// `split` choose among them.
    ///
    /// # Errors
    /// As [`open`](Self::open); or there is no such config or split.
    pub fn sources(
        self: &Rc<Self>,
        path: &str,
        config: Option<&str>,
        split: Option<&str>,
    ) -> Result<Vec<RowFile>> {
        let whole = path.starts_with(HUB) && self.checked(path)?.path.is_none();
        if !whole {
            if config.or(split).is_some() {
                bail!(
                    "load_rows: config and split are those of a data set on the Hub, hf:datasets/owner/repo, not of {path:?}"
                );
            }
            let file = self.open(path)?;
            let name = path.split('@').next().unwrap_or(path);
            let name = if path.starts_with(HUB) { name } else { path };
            return Ok(vec![RowFile::of_file(name, file)]);
        }
        let mut reference = self.checked(path)?;
        let mut files = self.listed(&reference)?;
        if !layout::has_rows(&files) && reference.revision.is_none() {
            reference.revision = Some(CONVERTED.into());
            files = self.listed(&reference)?;
        }
        let files = layout::files_of(&reference.repository, &files, config, split)?;
        let source = |inside: String| {
            let (own, reference) = (self.clone(), reference.clone());
            let name = format!("{HUB}{}/{inside}", reference.repository);
            RowFile::new(name, move || own.fetch(&reference, &inside))
        };
        Ok(files.into_iter().map(source).collect())
    }

    /// The reference to the Hub that a script gives, if it may read it.
    fn checked(&self, path: &str) -> Result<HubReference> {
        let reference = path.parse()?;
        self.settings.policy.check_data(path, &reference)?;
        Ok(reference)
    }

    /// The revision to ask the Hub for: the commit that this run has read of, or that the record of
    /// an earlier one names.
    fn revision(&self, of: &HubReference) -> Option<String> {
        let used = self.used.borrow();
        let known = used.iter().find(|used| used.id == of.repository && used.asked == of.revision);
        let pin = || {
            let mut pins = self.settings.pins.iter();
            pins.find(|pin| pin.id == of.repository && pin.revision == of.revision)
        };
        let commit = known.map(|used| used.revision.clone());
        commit.or_else(|| pin().map(|pin| pin.commit.clone())).or_else(|| of.revision.clone())
    }

    fn note(&self, of: &HubReference, commit: &str) {
        let mut used = self.used.borrow_mut();
        if !used.iter().any(|used| used.id == of.repository && used.asked == of.revision) {
            used.push(record::HubData {
                id: of.repository.clone(),
                asked: of.revision.clone(),
                revision: commit.into(),
            });
        }
    }

    /// The paths of all files of a data set.
    fn listed(&self, of: &HubReference) -> Result<Vec<String>> {
        let (hub, revision, offline) = (Hub::default(), self.revision(of), self.settings.offline);
        let mut files = Vec::new();
        // Nothing that is in the cache lists all files: offline that is an error.
        let snapshot = hub.fetch_named(
            &of.repository,
            revision.as_deref(),
            offline,
            "",
            0,
            |_, listed: &[String]| {
                files = listed.to_vec();
                Ok(())
            },
        );
        let snapshot = snapshot.map_err(|e| match offline {
            true => e.help(
                "offline, a data set's files are read one by one: hf:datasets/owner/repo/path",
            ),
            false => e,
        })?;
        self.note(of, &snapshot.commit);
        Ok(files)
    }

    fn fetch(&self, of: &HubReference, inside: &str) -> Result<File> {
        let (hub, revision) = (Hub::default(), self.revision(of));
        let has = |snapshot: &Snapshot| snapshot.directory.join(inside).is_file();
        let kept =
            revision.as_deref().and_then(|commit| hub.cached_snapshot(&of.repository, commit));
        let is_commit = revision.as_deref().is_some_and(crate::checkpoint::is_commit);
        let snapshot = match kept.filter(|kept| is_commit && has(kept)) {
            Some(kept) => kept,
            None => hub.fetch_named(
                &of.repository,
                revision.as_deref(),
                self.settings.offline,
                inside,
                FileKind::Data.max_bytes(),
                |fetch, _| fetch(inside).map(drop),
            )?,
        };
        self.note(of, &snapshot.commit);
        open(&snapshot.directory, inside)
    }
}

/// Opens a file of the cache, whose entries are links.
fn open(snapshot: &Path, inside: &str) -> Result<File> {
    let path = snapshot.join(inside);
    file::open(&path, FileKind::Data)
        .map_err(|e| error!("{} can't be read: {}", path.display(), describe_io_error(&e)))
}
