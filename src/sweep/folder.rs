//! What a sweep's directory holds. Each file appears whole, and no two processes write the same one
//! but for those that say the same.
//!
//! - `plan.json`: the combinations, in order
//! - `items/ID/`: the run of a combination; it is done if its `run.json` says so
//! - `logs/ID.txt`: what it printed
//! - `failed/ID.json`: why it failed; gone once it is done
//! - `done/INDEX-of-COUNT.json`: the completion manifest of a part, written last
//! - `sweep.parquet`: what all recorded

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::plan::{Item, Plan};
use super::shard::Shard;
use crate::checkpoint::Hub;
use crate::checkpoint::hub::cache;
use crate::output::record::Record;
use crate::system::file;
use crate::system::file::{FileKind, describe_io_error};
use crate::{Error, Result, bail, error};

/// A sweep's directory.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// Why a combination has failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// The combination.
    pub item: Item,
    /// The exit code of its process; none if a signal ended it.
    pub code: Option<i32>,
    /// The last error that it printed.
    pub message: String,
    /// Whether it may succeed without a change: it was ended from outside.
    pub retryable: bool,
}

/// The completion manifest of a part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The part.
    pub shard: u64,
    /// Of how many.
    pub shards: u64,
    /// The ids of its combinations that are done.
    pub done: Vec<String>,
    /// The ids of those that failed.
    pub failed: Vec<String>,
}

/// What is known of a combination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its run is done.
    Done,
    /// It has failed.
    Failed,
    /// It was not run, or not to its end.
    Pending,
}

impl Folder {
    /// Opens or makes the directory.
    ///
    /// # Errors
    /// It can't be made.
    pub fn make(path: &Path) -> Result<Self> {
        for part in ["items", "logs", "failed", "done"] {
            std::fs::create_dir_all(path.join(part)).map_err(|e| cannot(path, &e))?;
        }
        Ok(Self(path.to_owned()))
    }

    /// The directory of an earlier sweep, and its plan.
    ///
    /// # Errors
    /// There is no sweep there.
    pub fn open(path: &Path) -> Result<(Self, Plan)> {
        let plan = path.join("plan.json");
        let text = file::read(&plan, FileKind::Record).map_err(|e| {
            error!(
                "{} is no directory of a sweep: plan.json can't be read: {}",
                path.display(),
                describe_io_error(&e)
            )
        })?;
        let read: Plan = serde_json::from_slice(&text)
            .map_err(|e| error!("{} is broken: {e}", plan.display()))?;
        if let Some(item) = read.items.iter().find(|item| !item.has_id()) {
            bail!("{} is broken: {:?} is no combination's id", plan.display(), item.id);
        }
        Ok((Self(path.to_owned()), read))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The directory of a combination's run.
    pub fn item(&self, id: &str) -> PathBuf {
        self.0.join("items").join(id)
    }

    /// The file of what a combination printed.
    pub fn log(&self, id: &str) -> PathBuf {
        self.0.join("logs").join(format!("{id}.txt"))
    }

    fn failure(&self, id: &str) -> PathBuf {
        self.0.join("failed").join(format!("{id}.json"))
    }

    /// What is known of a combination. A run of a model of the Hub that has another commit by now is
    /// not done.
    pub fn state(&self, id: &str) -> State {
        match Record::read(&self.item(id).join("run.json")) {
            Ok(record) if record.is_done() && has_same_models(&record) => State::Done,
            _ if self.failure(id).is_file() => State::Failed,
            _ => State::Pending,
        }
    }

    /// Why a combination has failed; nothing if it has not.
    pub fn failed(&self, id: &str) -> Option<Failed> {
        let text = file::read(&self.failure(id), FileKind::Record).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Notes that a combination has failed.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn note_failure(&self, failed: &Failed) -> Result<()> {
        self.write_json(&format!("failed/{}.json", failed.item.id), failed)
    }

    /// Notes that a combination is done.
    pub fn forget_failure(&self, id: &str) {
        let _ = std::fs::remove_file(self.failure(id));
    }

    /// Writes the plan.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write_plan(&self, plan: &Plan) -> Result<()> {
        self.write_json("plan.json", plan)
    }

    /// The name of the completion manifest of a part.
    pub fn manifest_name(shard: Shard) -> String {
        format!("done/{}-of-{}.json", shard.index, shard.count)
    }

    /// Writes the completion manifest of a part.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write_manifest(
        &self,
        shard: Shard,
        done: Vec<String>,
        failed: Vec<String>,
    ) -> Result<()> {
        let manifest = Manifest { shard: shard.index, shards: shard.count, done, failed };
        self.write_json(&Self::manifest_name(shard), &manifest)
    }

    /// Removes the completion manifest of a part that is begun again.
    pub fn remove_manifest(&self, shard: Shard) {
        let _ = std::fs::remove_file(self.0.join(Self::manifest_name(shard)));
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let bytes =
            serde_json::to_vec_pretty(value).map_err(|e| error!("{name} can't be written: {e}"))?;
        self.write(name, |to| to.write_all(&bytes).map_err(|e| cannot(&self.0, &e)))
    }

    /// Writes a file, which appears under its name when it is whole.
    ///
    /// # Errors
    /// It can't be written, or the error of `fill`.
    pub fn write(&self, name: &str, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        let path = self.0.join(name);
        let failed = |e: &std::io::Error| cannot(&path, e);
        let mut builder = tempfile::Builder::new();
        builder.prefix(".precompute-");
        // Others may read it if the umask lets them, as any file that is written here.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut temporary = builder.tempfile_in(&self.0).map_err(|e| failed(&e))?;
        fill(&mut temporary)?;
        temporary.persist(&path).map(drop).map_err(|e| failed(&e.error))
    }
}

/// Whether the models, adapters and data that a run loaded from the Hub are at the commits that its revisions stand for
/// in the cache now.
fn has_same_models(record: &Record) -> bool {
    let cache = Hub::default().cache_dir();
    let same = |id: &str, asked: &Option<String>, commit: Option<&String>| {
        let Some(commit) = commit else { return true };
        let revision = asked.as_deref().unwrap_or("main");
        cache::find_snapshot(&cache, id, revision).is_none_or(|now| now.commit == *commit)
    };
    record.models.iter().all(|it| same(&it.id, &it.asked, it.revision.as_ref()))
        && record.adapters.iter().all(|it| same(&it.id, &it.asked, it.revision.as_ref()))
        && record.data.iter().all(|it| same(&it.id, &it.asked, Some(&it.revision)))
}

fn cannot(path: &Path, cause: &std::io::Error) -> Error {
    error!("{} can't be written: {}", path.display(), describe_io_error(cause))
        .help("choose another directory with --out DIR")
}
