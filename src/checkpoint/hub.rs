//! Models from the Hugging Face Hub: a revision is resolved to a commit once, and only the files needed are fetched.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use hf_hub::progress::{DownloadEvent, Progress, ProgressEvent, ProgressHandler};
use hf_hub::{HFClient, HFClientSync, HFError, RepoTypeModel};
use indicatif::{ProgressBar, ProgressStyle};

use super::cache;
use super::weights::{FORMATS, shards};
use crate::{Error, Result, error, interrupt};

/// How often a file is asked for before the download counts as failed.
const ATTEMPTS: u32 = 4;

/// The small files that a checkpoint may have.
const SMALL: [&str; 5] =
    ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];

/// A tokenizer where there is no tokenizer.json.
const SLOW_TOKENIZER: [&str; 3] = ["vocab.json", "merges.txt", "added_tokens.json"];

/// Which Hub, whose token, and where files are kept. What is absent is read from the environment, as Python's client does:
/// `HF_ENDPOINT`, `HF_TOKEN` (or the token file), `HF_HUB_CACHE` or `HF_HOME`.
#[derive(Debug, Clone, Default)]
pub struct Hub {
    pub endpoint: Option<String>,
    pub token: Option<String>,
    pub cache: Option<PathBuf>,
}

/// The files of one commit, as a directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub directory: PathBuf,
    pub commit: String,
}

type Repository = hf_hub::HFRepositorySync<RepoTypeModel>;

impl Hub {
    /// The cache directory.
    pub fn cache(&self) -> PathBuf {
        if let Some(cache) = &self.cache {
            return cache.clone();
        }
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = || {
            variable("HF_HOME")
                .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")))
                .unwrap_or_else(|| {
                    variable("HOME").unwrap_or_else(|| PathBuf::from(".")).join(".cache").join("huggingface")
                })
        };
        variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE")).unwrap_or_else(|| home().join("hub"))
    }

    /// A model's files: from the cache where they are there, else from the Hub.
    ///
    /// # Errors
    /// There is no such model or revision, it may not be had, the Hub can't be reached, the disk is full.
    pub fn fetch(&self, id: &str, revision: Option<&str>, offline: bool) -> Result<Snapshot> {
        self.fetch_files(id, revision, offline, |repository, commit, listed| {
            for name in needed(listed) {
                download(repository, commit, name)?;
            }
            let index = FORMATS.into_iter().find(|name| listed.iter().any(|file| file == name));
            if let Some(index) = index.filter(|name| name.ends_with(".index.json")) {
                let path = download(repository, commit, index)?;
                let json = std::fs::read(&path).map_err(|e| error!("{index} can't be read: {e}"))?;
                let json = serde_json::from_slice(&json).map_err(|e| error!("{index} is not a map in JSON: {e}"))?;
                for shard in shards(&json, index)? {
                    download(repository, commit, &shard)?;
                }
            }
            Ok(())
        })
    }

    /// The snapshot with config.json alone.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_config(&self, id: &str, revision: Option<&str>, offline: bool) -> Result<PathBuf> {
        let config = |repository: &Repository, commit: &str, _: &[String]| {
            download(repository, commit, "config.json").map(|_| ())
        };
        Ok(self.fetch_files(id, revision, offline, config)?.directory)
    }

    fn fetch_files(
        &self,
        id: &str,
        revision: Option<&str>,
        offline: bool,
        files: impl FnOnce(&Repository, &str, &[String]) -> Result<()> + Send + 'static,
    ) -> Result<Snapshot> {
        let (cache, revision) = (self.cache(), revision.unwrap_or("main").to_owned());
        if offline || offline_by_environment() {
            return cache::find(&cache, id, &revision).ok_or_else(|| {
                error!("{id} is not in the cache {}, and this run is offline", cache.display())
                    .help("run once without --offline and HF_HUB_OFFLINE to fetch it")
            });
        }
        let client = self.client(&cache)?;
        let (owned_id, owned_cache) = (id.to_owned(), cache.clone());
        let wanted = revision.clone();
        let fetched = in_background(move || {
            let (owner, name) = hf_hub::split_id(&owned_id);
            let repository = client.model(owner, name);
            let (commit, listed) = resolve(&repository, &owned_id, &wanted)?;
            files(&repository, &commit, &listed)
                .map_err(|error| if error.is_interrupted() { error } else { error.at(&owned_id) })?;
            cache::remember(&owned_cache, &owned_id, &wanted, &commit)
                .map_err(|e| Failure::Final(error!("{} can't be written: {e}", owned_cache.display())))?;
            Ok(commit)
        });
        match fetched {
            Ok(commit) => {
                Ok(Snapshot { directory: cache::repository(&cache, id).join("snapshots").join(&commit), commit })
            }
            Err(Failure::Unreachable(why)) => match cache::find(&cache, id, &revision) {
                Some(snapshot) => {
                    eprintln!("note: {why}; using the copy of {id} in the cache");
                    Ok(snapshot)
                }
                None => Err(error!("{id} can't be fetched: {why}")
                    .help("check the network and HF_ENDPOINT; a demo or a local directory needs neither")),
            },
            Err(Failure::Final(error)) => Err(error),
        }
    }

    fn client(&self, cache: &Path) -> Result<HFClientSync> {
        let mut builder = HFClient::builder().cache_dir(cache).retry_max_attempts(3);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.endpoint(endpoint);
        }
        if let Some(token) = &self.token {
            builder = builder.token(token);
        }
        builder
            .build_sync()
            .map_err(|e| error!("the Hub's address or settings can't be used: {e}").help("check HF_ENDPOINT"))
    }
}

fn offline_by_environment() -> bool {
    std::env::var("HF_HUB_OFFLINE")
        .is_ok_and(|value| matches!(value.to_lowercase().as_str(), "1" | "true" | "yes" | "on"))
}

/// Why a download did not come to an end.
enum Failure {
    /// The Hub did not answer: what is in the cache may serve.
    Unreachable(String),
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Final(error)
    }
}

/// Runs `work` on another thread and waits for it, or for Ctrl-C. What is interrupted leaves no file under its final name:
/// hf-hub writes beside it and renames.
fn in_background<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    loop {
        match receiver.recv_timeout(Duration::from_millis(50)) {
            Ok(result) => return result,
            Err(mpsc::RecvTimeoutError::Timeout) => interrupt::check()?,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(error!("the download ended without a result").into());
            }
        }
    }
}

/// The commit of a revision, and the names of its files.
fn resolve(repository: &Repository, id: &str, revision: &str) -> Result<(String, Vec<String>), Failure> {
    let info = repository.info().revision(revision).send().map_err(|e| explain(e, id, revision))?;
    let Some(commit) = info.sha.filter(|sha| cache::is_commit(sha)) else {
        return Err(error!("{id}: the Hub gave no commit for {revision:?}").into());
    };
    let files = info.siblings.unwrap_or_default().into_iter().map(|file| file.rfilename).collect();
    Ok((commit, files))
}

/// The files that a checkpoint of these needs, shards aside.
fn needed(listed: &[String]) -> Vec<&'static str> {
    let has = |name: &&str| listed.iter().any(|file| file == name);
    let mut needed: Vec<&str> = SMALL.into_iter().filter(has).collect();
    if !has(&"tokenizer.json") {
        needed.extend(SLOW_TOKENIZER.into_iter().filter(has));
    }
    let weights = FORMATS.into_iter().find(has);
    needed.extend(weights.filter(|name| !name.ends_with(".index.json")));
    needed
}

/// One file, into the cache. A connection that drops, and a file that comes short, are asked for again.
fn download(repository: &Repository, commit: &str, name: &str) -> Result<PathBuf> {
    let mut failure = error!("{name} can't be fetched");
    for attempt in 0..ATTEMPTS {
        interrupt::check()?;
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(200 << attempt));
        }
        let bar = Arc::new(Bar::new(name));
        let sent =
            repository.download_file().filename(name).revision(commit).progress(Progress::from(bar.clone())).send();
        bar.line.finish_and_clear();
        match sent {
            Ok(path) => match bar.shortfall(&path) {
                None => return Ok(path),
                Some(short) => {
                    discard(&path);
                    failure = error!("{name} came cut short: {short}")
                        .help("try again; if it stays so, the server's file is broken");
                }
            },
            Err(e) if is_passing(&e) => failure = error!("{name}: the connection dropped ({e})").help("try again"),
            Err(e) => return Err(explain_file(e, name)),
        }
    }
    Err(failure)
}

/// A file that came short is neither kept nor taken for the whole.
fn discard(path: &Path) {
    if let Ok(blob) = std::fs::canonicalize(path) {
        let _ = std::fs::remove_file(blob);
    }
    let _ = std::fs::remove_file(path);
}

fn is_passing(error: &HFError) -> bool {
    matches!(error, HFError::Request { .. })
        || matches!(error, HFError::Http { context } if context.status.is_server_error())
}

fn explain_file(e: HFError, name: &str) -> Error {
    match e {
        HFError::Io(e) if e.kind() == std::io::ErrorKind::StorageFull => error!("{name}: the disk is full"),
        HFError::Io(e) => error!("{name} can't be written to the cache: {e}"),
        HFError::EntryNotFound { .. } => error!("the repository has no {name}"),
        HFError::AuthRequired { .. } | HFError::Forbidden { .. } => error!("{name} may not be fetched with this token")
            .help("set HF_TOKEN, and accept the model's licence on its page"),
        other => error!("{name} can't be fetched: {other}"),
    }
}

fn explain(e: HFError, id: &str, revision: &str) -> Failure {
    match e {
        HFError::RepoNotFound { .. } => error!("there is no model {id} on the Hub, or it is private")
            .help("check the name; for a private model set HF_TOKEN")
            .into(),
        HFError::RevisionNotFound { .. } => error!("{id} has no revision {revision:?}").into(),
        HFError::AuthRequired { .. } | HFError::Forbidden { .. } => {
            error!("{id} may not be read: it is gated or private")
                .help(format!(
                    "accept its licence at https://huggingface.co/{id}, and set HF_TOKEN to a token of that account"
                ))
                .into()
        }
        HFError::RateLimited { .. } => {
            error!("the Hub asks to wait: too many requests").help("set HF_TOKEN, or try later").into()
        }
        HFError::Request { source, .. } => {
            Failure::Unreachable(format!("the Hub can't be reached ({})", innermost(&source)))
        }
        HFError::Http { context } if context.status.is_server_error() => {
            Failure::Unreachable(format!("the Hub answers {}", context.status))
        }
        other => error!("{id}: {other}").into(),
    }
}

/// The cause at the bottom: "connection refused" rather than "error sending request".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A file's progress, on standard error where that is a terminal.
struct Bar {
    line: ProgressBar,
    /// The size that the server announced.
    expected: AtomicU64,
}

impl Bar {
    fn new(name: &str) -> Self {
        let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        let line = ProgressBar::no_length().with_message(name.to_owned());
        Self {
            line: line.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
            expected: AtomicU64::new(0),
        }
    }

    /// What is missing of a file, if it is shorter or longer than announced.
    fn shortfall(&self, path: &Path) -> Option<String> {
        let expected = self.expected.load(Ordering::Relaxed);
        let got = std::fs::metadata(path).map(|meta| meta.len()).unwrap_or(0);
        (expected > 0 && got != expected).then(|| format!("{got} of {expected} bytes"))
    }
}

impl ProgressHandler for Bar {
    fn on_progress(&self, event: &ProgressEvent) {
        let ProgressEvent::Download(event) = event else { return };
        match event {
            DownloadEvent::Start { total_bytes, .. } => {
                self.expected.store(*total_bytes, Ordering::Relaxed);
                self.line.set_length(*total_bytes);
            }
            DownloadEvent::Progress { files } => {
                files.iter().for_each(|file| self.line.set_position(file.bytes_completed))
            }
            DownloadEvent::AggregateProgress { bytes_completed, .. } => self.line.set_position(*bytes_completed),
            DownloadEvent::Complete => {}
        }
    }
}
