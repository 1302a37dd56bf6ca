//! Models from the Hugging Face Hub: a revision is resolved to a commit once, and only the files needed are fetched.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use hf_hub::{HFClient, HFClientSync, HFError};

use super::cache;
use super::download::{Pulse, Repository, Source, innermost};
use super::weights::{FORMATS, shards};
use crate::notice::notice;
use crate::{Error, Result, bail, error, interrupt};

/// How long the Hub may be silent, in seconds, where `HF_HUB_DOWNLOAD_TIMEOUT` does not say.
const SILENCE: u64 = 60;

/// How long a transfer that is given up may take to end.
const LETTING_GO: Duration = Duration::from_secs(1);

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
        self.fetch_files("model", id, revision, offline, cache::is_whole, |source, listed| {
            for name in needed(listed) {
                source.fetch(name)?;
            }
            let index = FORMATS.into_iter().find(|name| listed.iter().any(|file| file == name));
            if let Some(index) = index.filter(|name| name.ends_with(".index.json")) {
                let json = std::fs::read(source.fetch(index)?).map_err(|e| error!("{index} can't be read: {e}"))?;
                let json = serde_json::from_slice(&json).map_err(|e| error!("{index} is not a map in JSON: {e}"))?;
                for shard in shards(&json, index)? {
                    source.fetch(&shard)?;
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
        let has_config = |directory: &Path| directory.join("config.json").is_file();
        let config = |source: &Source, _: &[String]| source.fetch("config.json").map(|_| ());
        Ok(self.fetch_files("model", id, revision, offline, has_config, config)?.directory)
    }

    /// The snapshot with what `files` fetches by name, given what the repository has, `main` among it.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_named(
        &self,
        id: &str,
        revision: Option<&str>,
        offline: bool,
        main: &str,
        files: impl FnOnce(&dyn Fn(&str) -> Result<PathBuf>, &[String]) -> Result<()> + Send + 'static,
    ) -> Result<Snapshot> {
        let serves = |directory: &Path| directory.join(main).is_file();
        self.fetch_files("repository", id, revision, offline, serves, |source, listed| {
            files(&|name| source.fetch(name), listed)
        })
    }

    /// What of a commit is in the cache.
    pub fn kept(&self, id: &str, commit: &str) -> Option<Snapshot> {
        cache::find(&self.cache(), id, commit)
    }

    /// `files` fetches what is wanted of a commit, and `serves` tells whether a copy in the cache has it all.
    fn fetch_files(
        &self,
        what: &'static str,
        id: &str,
        revision: Option<&str>,
        offline: bool,
        serves: impl Fn(&Path) -> bool,
        files: impl FnOnce(&Source, &[String]) -> Result<()> + Send + 'static,
    ) -> Result<Snapshot> {
        let (cache, revision) = (self.cache(), revision.unwrap_or("main").to_owned());
        if !is_revision(&revision) {
            bail!("{revision:?} is no revision: it is a branch, a tag or a commit");
        }
        let kept = cache::find(&cache, id, &revision);
        let of_revision = if revision == "main" { String::new() } else { format!(" at revision {revision:?}") };
        if offline || offline_by_environment() {
            let (part, place) = match kept {
                Some(snapshot) if serves(&snapshot.directory) => return Ok(snapshot),
                Some(_) => ("only a part of ", "is in the cache"),
                None => ("", "is not in the cache"),
            };
            return Err(error!("{part}{id}{of_revision} {place} {}, and this run is offline", cache.display())
                .help("run once without --offline and HF_HUB_OFFLINE to fetch it"));
        }
        let client = self.client(&cache)?;
        let pulse = Arc::new(Pulse::new());
        let (owned_id, owned_cache) = (id.to_owned(), cache.clone());
        let (wanted, own_pulse) = (revision.clone(), pulse.clone());
        let fetched = in_background(&pulse, move || {
            let (owner, name) = hf_hub::split_id(&owned_id);
            let repository = client.model(owner, name);
            let (commit, listed) = resolve(&repository, what, &owned_id, &wanted)?;
            let directory = cache::repository(&owned_cache, &owned_id);
            let source = Source { repository, directory, commit, pulse: own_pulse };
            files(&source, &listed)
                .map_err(|error| if error.is_interrupted() { error } else { error.at(&owned_id) })?;
            cache::remember(&owned_cache, &owned_id, &wanted, &source.commit)
                .map_err(|e| error!("{} can't be written: {e}", owned_cache.display()))?;
            Ok(source.commit)
        });
        match fetched {
            Ok(commit) => {
                Ok(Snapshot { directory: cache::repository(&cache, id).join("snapshots").join(&commit), commit })
            }
            Err(Failure::Unreachable(why)) => match kept.filter(|snapshot| serves(&snapshot.directory)) {
                Some(snapshot) => {
                    notice(format_args!("note: {why}; using the copy of {id} in the cache"));
                    Ok(snapshot)
                }
                None => Err(error!("{id} can't be fetched: {why}")
                    .help("check the network and HF_ENDPOINT; a demo or a local directory needs neither")),
            },
            Err(Failure::Final(error)) => Err(error),
        }
    }

    pub(super) fn client(&self, cache: &Path) -> Result<HFClientSync> {
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

/// What git allows of a revision, as far as it keeps inside the cache.
pub fn is_revision(revision: &str) -> bool {
    !revision.is_empty()
        && !revision.contains(['\\', '\0', ':', ' '])
        && revision.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains(".."))
}

pub(super) fn offline_by_environment() -> bool {
    std::env::var("HF_HUB_OFFLINE")
        .is_ok_and(|value| matches!(value.to_lowercase().as_str(), "1" | "true" | "yes" | "on"))
}

/// Why a download did not come to an end.
pub(super) enum Failure {
    /// The Hub did not answer: what is in the cache may serve.
    Unreachable(String),
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Final(error)
    }
}

/// Runs `work` on another thread and waits for it, for Ctrl-C, or until the Hub has been silent for too long. What is
/// left behind leaves no file under its final name: hf-hub writes beside it and renames.
pub(super) fn in_background<T: Send + 'static>(
    pulse: &Pulse,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let patience = std::env::var("HF_HUB_DOWNLOAD_TIMEOUT").ok().and_then(|seconds| seconds.parse().ok());
    let patience = Duration::from_secs(patience.filter(|seconds| *seconds > 0).unwrap_or(SILENCE));
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    let stopped = loop {
        match receiver.recv_timeout(Duration::from_millis(50)) {
            Ok(result) => return result,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(error!("the download ended without a result").into());
            }
        }
        if let Err(interrupted) = interrupt::check() {
            break interrupted.into();
        }
        if pulse.silence() > patience {
            break Failure::Unreachable(format!("the Hub has been silent for {patience:?}"));
        }
    };
    pulse.abandon();
    // It lets go of the file's lock, unless it hangs.
    let _ = receiver.recv_timeout(LETTING_GO);
    Err(stopped)
}

/// The commit of a revision, and the names of its files.
fn resolve(repository: &Repository, what: &str, id: &str, revision: &str) -> Result<(String, Vec<String>), Failure> {
    let ask = || repository.info().revision(revision).send();
    // hf-hub asks again where there was no answer, but not where one broke off.
    let info = match ask() {
        Err(HFError::Request { source, .. }) if !source.is_connect() => ask(),
        answer => answer,
    };
    let info = info.map_err(|e| explain(e, what, id, revision))?;
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

fn explain(e: HFError, what: &str, id: &str, revision: &str) -> Failure {
    match e {
        // The Hub answers 401 for what does not exist, to whom it does not know.
        HFError::RevisionNotFound { context: Some(context), .. } | HFError::AuthRequired { context }
            if context.error_code.as_deref() != Some("RevisionNotFound")
                && context.error_code.as_deref() != Some("GatedRepo") =>
        {
            error!("there is no {what} {id} on the Hub, or it is private")
                .help("check the name; for a private one set HF_TOKEN to a token that may read it")
                .into()
        }
        HFError::RevisionNotFound { .. } => {
            error!("{id} has no revision {revision:?}").help("a revision is a branch, a tag or a commit").into()
        }
        HFError::AuthRequired { .. } | HFError::Forbidden { .. } => {
            error!("{id} may not be read: it is gated or private")
                .help(format!("accept the {what}'s licence on its page, and set HF_TOKEN to a token of that account"))
                .into()
        }
        HFError::RateLimited { .. } => {
            error!("the Hub asks to wait: too many requests").help("set HF_TOKEN, or try later").into()
        }
        HFError::Request { source, .. } if source.source().is_some_and(|cause| cause.is::<serde_json::Error>()) => {
            error!("{id}: what answers is not the Hub").help("check HF_ENDPOINT, and that the network is open").into()
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
