//! Fetches models and recipes from the Hub: resolves a revision to a commit once, and downloads the
//! files that are needed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::StatusCode;

use super::cache::{self, Snapshot};
use super::client::{Client, Failure, Refusal, on_own_thread};
use super::download::CommitFetcher;
use super::repository::CacheRepository;
use super::response::{self, Listing};
use super::settings::{Hub, offline_from_env};
use super::validate::{api_path, checked_revision, dataset_name};
use crate::checkpoint::files::file_kind;
use crate::checkpoint::weights::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, WEIGHT_FILES, shard_names};
use crate::system::file;
use crate::system::file::FileKind;
use crate::system::message::notice;
use crate::{Error, Result, error, without_rust_types};

/// How often a revision is requested before the Hub counts as unreachable.
const MAX_ATTEMPTS: u32 = 3;

/// The small files that a checkpoint may have.
const SMALL_FILES: [&str; 7] = [
    "config.json",
    ADAPTER_CONFIG,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];

/// The files of a tokenizer without tokenizer.json, which transformers calls slow.
const SLOW_TOKENIZER: [&str; 3] = ["vocab.json", "merges.txt", "tokenizer.model"];

/// Why a commit's files could not be fetched.
enum Missing {
    /// The Hub did not answer. A copy in the cache may be used.
    Unreachable(String),
    Final(Error),
}

impl From<Error> for Missing {
    fn from(error: Error) -> Self {
        Missing::Final(error)
    }
}

impl Hub {
    /// A model's files: config, tokenizer and weights. Files in the cache are not fetched again,
    /// and a complete copy in the cache is used if the Hub can't be reached. `judge` is asked of the
    /// directory when the configs are in it, before anything else is fetched.
    ///
    /// # Errors
    /// There is no such model or revision, the token may not read it, the Hub can't be reached,
    /// `judge` fails, or the disk is full.
    pub fn fetch(
        &self,
        id: &str,
        revision: Option<&str>,
        offline: bool,
        judge: impl Fn(&Path) -> Result<()> + Send + Sync,
    ) -> Result<Snapshot> {
        self.fetch_files("model", id, revision, offline, cache::is_complete, |fetcher, listed| {
            let (configs, others): (Vec<_>, Vec<_>) = needed(listed)
                .into_iter()
                .partition(|name| ["config.json", ADAPTER_CONFIG].contains(name));
            for name in configs {
                fetcher.fetch(name, file_kind(name).max_bytes())?;
            }
            if !listed.iter().any(|name| name == "config.json") {
                // It is no model: nothing of it is needed to say so.
                return Ok(());
            }
            judge(&fetcher.directory())?;
            for name in others {
                fetcher.fetch(name, file_kind(name).max_bytes())?;
            }
            let index =
                WEIGHT_FILES.into_iter().find(|name| listed.iter().any(|file| file == name));
            if let Some(index) = index.filter(|name| name.ends_with(".index.json")) {
                let path = fetcher.fetch(index, file_kind(index).max_bytes())?;
                let json = file::read(&path, file_kind(index))
                    .map_err(|e| error!("{index} can't be read: {e}"))?;
                let json = serde_json::from_slice(&json).map_err(|e| {
                    error!("{index} is not a map in JSON: {}", without_rust_types(&e.to_string()))
                })?;
                for shard in shard_names(&json, index)? {
                    fetcher.fetch(&shard, FileKind::Data.max_bytes())?;
                }
            }
            Ok(())
        })
    }

    /// An adapter's files: its config and its tensors.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_adapter(
        &self,
        id: &str,
        revision: Option<&str>,
        offline: bool,
    ) -> Result<Snapshot> {
        self.fetch_files("adapter", id, revision, offline, cache::is_adapter, |fetcher, listed| {
            let weights =
                ADAPTER_WEIGHTS.into_iter().find(|name| listed.iter().any(|at| at == name));
            for name in [ADAPTER_CONFIG].into_iter().chain(weights) {
                fetcher.fetch(name, file_kind(name).max_bytes())?;
            }
            Ok(())
        })
    }

    /// The directory of a snapshot that has at least config.json.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_config(&self, id: &str, revision: Option<&str>, offline: bool) -> Result<PathBuf> {
        let has_config = |directory: &Path| directory.join("config.json").is_file();
        let config = |fetcher: &CommitFetcher, _: &[String]| {
            fetcher.fetch("config.json", FileKind::Config.max_bytes()).map(|_| ())
        };
        Ok(self.fetch_files("model", id, revision, offline, has_config, config)?.directory)
    }

    /// A snapshot with files that the caller chooses. `files` gets a function that fetches one file
    /// of at most `max_bytes` bytes by its path, and the paths of all files of the repository. A
    /// copy in the cache serves offline if it has the file `main`.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_named(
        &self,
        id: &str,
        revision: Option<&str>,
        offline: bool,
        main: &str,
        max_bytes: u64,
        files: impl FnOnce(&dyn Fn(&str) -> Result<PathBuf>, &[String]) -> Result<()> + Send,
    ) -> Result<Snapshot> {
        let serves = |directory: &Path| directory.join(main).is_file();
        let what = if dataset_name(id).is_some() { "data set" } else { "repository" };
        self.fetch_files(what, id, revision, offline, serves, |fetcher, listed| {
            files(&|name| fetcher.fetch(name, max_bytes), listed)
        })
    }

    /// The snapshot of a commit, if any of its files is in the cache.
    pub fn cached_snapshot(&self, id: &str, commit: &str) -> Option<Snapshot> {
        cache::find_snapshot(&self.cache_dir(), id, commit)
    }

    /// Resolves the revision and fetches the files that `files` asks for. `serves` tells whether a
    /// copy in the cache has them all. `what` is what messages call the repository.
    fn fetch_files(
        &self,
        what: &'static str,
        id: &str,
        revision: Option<&str>,
        offline: bool,
        serves: impl Fn(&Path) -> bool,
        files: impl FnOnce(&CommitFetcher, &[String]) -> Result<()> + Send,
    ) -> Result<Snapshot> {
        if offline || offline_from_env() {
            let kept = cache::snapshot(self, id, revision, serves, "this run is offline");
            return kept.map_err(|error| {
                error.help("run once without --offline and HF_HUB_OFFLINE to fetch it")
            });
        }
        let (cache, revision) = (self.cache_dir(), checked_revision(revision)?);
        let kept = cache::find_snapshot(&cache, id, revision);
        let fetched = on_own_thread(|| -> Result<Snapshot, Missing> {
            let client = Client::new(self)?;
            let Listing { commit, files: listed } = resolve(&client, what, id, revision)?;
            let repository = CacheRepository::open(&cache, id)?;
            let directory = repository.snapshot_dir(&commit);
            let fetcher = CommitFetcher::new(&client, id, &commit, repository);
            files(&fetcher, &listed).map_err(|error| match fetcher.stalled() {
                Some(why) if !error.ends_the_run() => Missing::Unreachable(why),
                _ if error.ends_the_run() => error.into(),
                _ => error.at(id).into(),
            })?;
            fetcher.write_ref(revision)?;
            Ok(Snapshot { directory, commit })
        });
        match fetched {
            Ok(snapshot) => Ok(snapshot),
            Err(Missing::Unreachable(why)) => match kept
                .filter(|snapshot| serves(&snapshot.directory))
            {
                Some(snapshot) => {
                    notice(format_args!("note: {why}; using the copy of {id} in the cache"));
                    Ok(snapshot)
                }
                None => Err(error!("{id} can't be fetched: {why}").help(
                    "check the network and HF_ENDPOINT; a demo or a local directory needs neither",
                )),
            },
            Err(Missing::Final(error)) => Err(error),
        }
    }
}

/// The commit of a revision and the paths of its files.
fn resolve(client: &Client, what: &str, id: &str, revision: &str) -> Result<Listing, Missing> {
    let url = || client.url(api_path(id).chain(["revision", revision]));
    let mut attempt = 1;
    let answer = loop {
        match client.get_small(url()) {
            Err(failure) if attempt < MAX_ATTEMPTS && may_pass(&failure) => {
                std::thread::sleep(Duration::from_millis(100 << attempt));
                attempt += 1;
            }
            answer => break answer.map_err(|failure| explain(failure, what, id, revision))?,
        }
    };
    Ok(response::parse_listing(&answer, revision).map_err(|e| e.at(id))?)
}

/// Whether the same request may succeed later.
fn may_pass(failure: &Failure) -> bool {
    match failure {
        Failure::Broken(_) => true,
        Failure::Refused(Refusal { status, .. }) => {
            status.is_server_error()
                || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(status)
        }
        Failure::Stalled(_) | Failure::Final(_) => false,
    }
}

/// The files to fetch of those in a repository, but for shards, which the index names.
fn needed(listed: &[String]) -> Vec<&'static str> {
    let has = |name: &&str| listed.iter().any(|file| file == name);
    let mut needed: Vec<&str> = SMALL_FILES.into_iter().filter(has).collect();
    if !has(&"tokenizer.json") {
        needed.extend(SLOW_TOKENIZER.into_iter().filter(has));
    }
    let weights = WEIGHT_FILES.into_iter().find(has);
    needed.extend(weights.filter(|name| !name.ends_with(".index.json")));
    needed
}

fn explain(failure: Failure, what: &str, id: &str, revision: &str) -> Missing {
    let Refusal { status, code, .. } = match failure {
        Failure::Broken(why) => {
            return Missing::Unreachable(format!("the Hub can't be reached ({why})"));
        }
        Failure::Stalled(why) => return Missing::Unreachable(why),
        Failure::Final(error) if error.ends_the_run() => return error.into(),
        Failure::Final(error) => return error.at(id).into(),
        Failure::Refused(refusal) => refusal,
    };
    match (status, code.as_str()) {
        (StatusCode::NOT_FOUND, "RevisionNotFound") => error!("{id} has no revision {revision:?}")
            .help("a revision is a branch, a tag or a commit")
            .into(),
        // The Hub answers 401 for a missing repository if there is no valid token.
        (StatusCode::NOT_FOUND, _) => no_such(what, id).into(),
        (StatusCode::UNAUTHORIZED, code) if code != "GatedRepo" => no_such(what, id).into(),
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => error!(
            "{id} may not be read: it is gated or private"
        )
        .help(format!(
            "accept the {what}'s licence on its page, and set HF_TOKEN to a token of that account"
        ))
        .into(),
        (StatusCode::TOO_MANY_REQUESTS, _) => error!("the Hub asks to wait: too many requests")
            .help("set HF_TOKEN, or try later")
            .into(),
        _ if status.is_server_error() => Missing::Unreachable(format!("the Hub answers {status}")),
        _ => error!("{id}: the Hub answers {status}").help("check HF_ENDPOINT").into(),
    }
}

fn no_such(what: &str, id: &str) -> Error {
    error!("there is no {what} {id} on the Hub, or it is private")
        .help("check the name; for a private one set HF_TOKEN to a token that may read it")
}
