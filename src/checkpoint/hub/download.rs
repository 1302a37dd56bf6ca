//! Downloads files of one commit into the cache: retried, resumed if they are large, and kept only
//! if they have the hash that the Hub announced.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use reqwest::{StatusCode, Url};
use serde_json::json;

use super::client::{Client, Failure, Refusal};
use super::hash::{ContentHash, Hash, Hasher};
use super::progress::progress_bar;
use super::repository::{CacheRepository, not_written};
use super::response::{self, FileMetadata};
use super::validate::{api_path, check_path};
use crate::system::digest::sha256_hex;
use crate::system::disk::available_bytes;
use crate::system::interrupt;
use crate::{Error, Result, error};

/// How many attempts in a row may bring no progress before the download fails.
const MAX_ATTEMPTS: u32 = 4;

/// How many more bytes an attempt must bring to count as progress. It bounds the number of attempts
/// by the file's size.
const PROGRESS_BYTES: u64 = 64 << 10;

/// The smallest download, in bytes, for which the free space of the disk is checked.
const LARGE: u64 = 16 << 20;

/// Fetches files of one commit of a repository.
pub struct CommitFetcher<'a> {
    client: &'a Client,
    id: &'a str,
    commit: &'a str,
    repository: CacheRepository,
    /// Why the last transfer stalled.
    stalled: RefCell<Option<String>>,
}

/// Why an attempt failed.
enum Stop {
    /// Another attempt may succeed.
    Passing(Error),
    /// The contents are not what was announced. One more attempt is made.
    Wrong(Error),
    /// The transfer stalled, for this reason.
    Stalled(String),
    /// No other attempt is made.
    Final(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Final(error)
    }
}

impl<'a> CommitFetcher<'a> {
    /// A fetcher of the files of `commit` of the repository `id`.
    pub fn new(
        client: &'a Client,
        id: &'a str,
        commit: &'a str,
        repository: CacheRepository,
    ) -> Self {
        Self { client, id, commit, repository, stalled: RefCell::default() }
    }

    /// Records in the cache that `revision` stands for this commit. To be called when all files are
    /// there.
    ///
    /// # Errors
    /// The cache can't be written to.
    pub fn write_ref(&self, revision: &str) -> Result<()> {
        self.repository.write_ref(revision, self.commit)
    }

    /// Why the last transfer stalled, if that was its error.
    pub fn stalled(&self) -> Option<String> {
        self.stalled.borrow().clone()
    }

    /// The directory in which the commit's files are.
    pub fn directory(&self) -> PathBuf {
        self.repository.snapshot_dir(self.commit)
    }

    /// The path of a file in the cache. It is fetched if it is not there, if it has at most
    /// `max_bytes` bytes.
    ///
    /// # Errors
    /// There is no such file, it is too large, the token may not read it, it is not what was
    /// announced even on a second attempt, the connection keeps failing, or the disk is full.
    pub fn fetch(&self, name: &str, max_bytes: u64) -> Result<PathBuf> {
        check_path(name).map_err(|e| e.at(format_args!("{name:?}")))?;
        if let Some(path) = self.repository.file(self.commit, name)? {
            return Ok(path);
        }
        let (mut attempt, mut was_wrong) = (0, false);
        // The bytes on disk, now and when an attempt last made progress.
        let (mut kept, mut before) = (0, 0);
        loop {
            interrupt::check()?;
            let why = match self.attempt(name, max_bytes, &mut kept) {
                Ok(path) => return Ok(path),
                Err(Stop::Final(error)) => return Err(error),
                Err(Stop::Stalled(why)) => return Err(self.stall_error(name, why, kept)),
                Err(Stop::Wrong(error)) if was_wrong => return Err(error),
                Err(Stop::Wrong(_)) => {
                    was_wrong = true;
                    continue;
                }
                Err(Stop::Passing(error)) => error,
            };
            if kept >= before + PROGRESS_BYTES {
                (attempt, before) = (0, kept);
            } else {
                attempt += 1;
            }
            if attempt == MAX_ATTEMPTS {
                return Err(why);
            }
            std::thread::sleep(Duration::from_millis(200 << attempt));
        }
    }

    /// The error of a stalled transfer, which is noted for [`stalled`](Self::stalled).
    fn stall_error(&self, name: &str, why: String, kept: u64) -> Error {
        let why = match kept {
            0 => why,
            kept => format!(
                "{why}; {} of {name} have come, and the next run goes on from there",
                size(kept)
            ),
        };
        *self.stalled.borrow_mut() = Some(why.clone());
        error!("{name}: {why}")
    }

    /// Tries once to fetch a file. `kept` is set to the number of bytes that the next attempt can
    /// resume from.
    fn attempt(&self, name: &str, max_bytes: u64, kept: &mut u64) -> Result<PathBuf, Stop> {
        let refused = |failure| explain(failure, name);
        let (headers, redirects) = self.client.head(self.url("resolve", name)).map_err(refused)?;
        let announced = response::parse_file_metadata(&headers, redirects, self.commit)
            .map_err(|e| e.at(name))?;
        if let Some(announced) = announced.size.filter(|size| *size > max_bytes) {
            let error = error!(
                "{name} has {}, and such a file has at most {}",
                size(announced),
                size(max_bytes)
            );
            return Err(error.into());
        }
        if let Some(hash) = &announced.hash
            && self.has_blob(hash, name, announced.size)?
        {
            return Ok(self.repository.link(self.commit, name, hash.digits())?);
        }
        // Without an announced hash the file's own is known only at the end. Until then the
        // incomplete file is named by the commit and the path.
        let slot = announced.hash.as_ref().map_or_else(
            || sha256_hex(format!("{}/{name}", self.commit).as_bytes()),
            |hash| hash.digits().to_owned(),
        );
        let _lock = self.repository.lock(&slot, name)?;
        if let Some(hash) = &announced.hash
            && self.has_blob(hash, name, announced.size)?
        {
            return Ok(self.repository.link(self.commit, name, hash.digits())?);
        }
        let partial = self.repository.incomplete(&slot)?;
        let hash = match self.receive(partial, name, max_bytes, &slot, &announced, kept) {
            Ok(hash) => hash,
            // An incomplete file that can't be resumed is deleted.
            Err(stop) if *kept == 0 => return Err(self.restart(&slot, stop)),
            Err(stop) => return Err(stop),
        };
        self.repository.complete(&slot, hash.digits())?;
        Ok(self.repository.link(self.commit, name, hash.digits())?)
    }

    /// Whether the cache has a blob of that hash. A blob of that name with other contents is
    /// deleted.
    fn has_blob(&self, hash: &Hash, name: &str, announced: Option<u64>) -> Result<bool, Stop> {
        let Some(mut file) = self.repository.blob(hash.digits())? else { return Ok(false) };
        let length = length(&file, name)?;
        if announced.is_none_or(|size| size == length) {
            let mut hasher = Hasher::new(Some(hash), length);
            hasher
                .read(&mut file, |_| {})
                .map_err(|e| if e.ends_the_run() { e } else { e.at(name) })?;
            match self.identify(hash, &hasher.finish(), name)? {
                Some(own) if own == *hash => return Ok(true),
                Some(_) => return Ok(false),
                None => {}
            }
        }
        self.repository.delete_blob(hash.digits())?;
        Ok(false)
    }

    /// Downloads a file into `file`, which an earlier attempt may have begun, and returns the hash
    /// that becomes its name. Contents that do not have the announced hash are deleted.
    fn receive(
        &self,
        mut file: File,
        name: &str,
        max_bytes: u64,
        slot: &str,
        announced: &FileMetadata,
        kept: &mut u64,
    ) -> Result<Hash, Stop> {
        let cannot_write = |e: std::io::Error| Stop::Final(not_written(name, &e));
        // Only a file with an announced SHA-256 is resumed: then a wrong beginning is detected.
        let resumed = matches!(announced.hash, Some(Hash::Sha256(_)));
        let beginning = announced.size.map(|size| (length(&file, name).unwrap_or(0), size));
        let mut come =
            beginning.filter(|(come, size)| resumed && come <= size).map_or(0, |(come, _)| come);
        let bar = progress_bar(name);
        let mut hasher = Hasher::new(announced.hash.as_ref(), announced.size.unwrap_or(0));
        if come > 0 {
            bar.set_length(announced.size.unwrap_or(0));
            *kept = come;
            hasher
                .read(&mut file, |bytes| bar.inc(bytes))
                .map_err(|e| if e.ends_the_run() { e } else { e.at(name) })?;
        }
        if announced.size.is_none_or(|size| come < size || size == 0) {
            let range = announced.size.filter(|_| come > 0).map(|size| (come, size - 1));
            let mut response = self
                .client
                .get(self.url("resolve", name), range)
                .map_err(|failure| explain(failure, name))?;
            let total = match response.status() {
                StatusCode::PARTIAL_CONTENT if come > 0 => {
                    match response::resumed_size(response.headers(), come) {
                        Some(total) => Some(total),
                        None => {
                            let error = error!(
                                "{name}: the Hub answers with another part than was asked for"
                            );
                            return Err(self.restart(slot, Stop::Passing(error.help("try again"))));
                        }
                    }
                }
                StatusCode::OK => {
                    come = 0;
                    response.content_length()
                }
                status => {
                    return Err(error!("{name} can't be fetched: the Hub answers {status}").into());
                }
            };
            let Some(size) = announced.size.or(total).filter(|size| *size <= max_bytes) else {
                let why = total.map_or("and does not say how large it is".into(), |total| {
                    format!("of {}", size(total))
                });
                return Err(error!("{name} can't be fetched: the Hub sends a file {why}").into());
            };
            if total.is_some_and(|total| total != size) {
                return Err(self.restart(slot, short(name, total.unwrap_or(0), size)));
            }
            if come == 0 {
                hasher = Hasher::new(announced.hash.as_ref(), size);
                file.set_len(0).map_err(cannot_write)?;
            }
            self.check_room(name, size - come)?;
            file.seek(SeekFrom::Start(come)).map_err(cannot_write)?;
            bar.set_length(size);
            bar.set_position(come);
            let mut rate = self.client.transfer_rate();
            while let Some(piece) =
                self.client.next_chunk(&mut response).map_err(|failure| explain(failure, name))?
            {
                let piece = piece.as_ref();
                if piece.len() as u64 > size - come {
                    let error = error!(
                        "{name} does not end: the Hub announced {size} bytes, and sends more"
                    );
                    return Err(self.restart(slot, Stop::Wrong(error)));
                }
                file.write_all(piece).map_err(cannot_write)?;
                hasher.update(piece);
                come += piece.len() as u64;
                bar.set_position(come);
                if resumed {
                    *kept = come;
                }
                if come < size {
                    rate.add(piece.len()).map_err(|failure| explain(failure, name))?;
                }
            }
            if come != size {
                return Err(self.restart(slot, short(name, come, size)));
            }
        }
        bar.finish_and_clear();
        let found = hasher.finish();
        let Some(hash) = &announced.hash else { return Ok(found.hash) };
        self.identify(hash, &found, name)?.ok_or_else(|| {
            let (announced, found) = (hash.digits(), found.hash.digits());
            let error = error!("{name} is not what the Hub announced: its hash is {found}, and not {announced}")
                .help("nothing of it was kept; if it stays so, something between here and the Hub changes files");
            self.restart(slot, Stop::Wrong(error))
        })
    }

    /// The hash that contents are kept under; nothing if they are not what the Hub announced. An
    /// ETag of 40 digits should be git's hash. If it does not match, the Hub's list of files is
    /// asked, which may have another hash or none.
    fn identify(&self, hash: &Hash, found: &ContentHash, name: &str) -> Result<Option<Hash>, Stop> {
        if found.matches(hash) || matches!(hash, Hash::Sha256(_)) {
            return Ok(found.matches(hash).then(|| hash.clone()));
        }
        let body = json!({"paths": [name]}).to_string().into_bytes();
        let answer = self.client.post(self.url("paths-info", ""), "application/json", body);
        Ok(match answer.map(|json| response::parse_git_hash(&json, name)) {
            Ok(Ok(Some(listed))) => found.matches(&listed).then_some(listed),
            Ok(Ok(None)) => Some(hash.clone()),
            Ok(Err(_)) | Err(Failure::Refused(_)) => None,
            Err(failure) => return Err(explain(failure, name)),
        })
    }

    /// The URL of a file at the Hub (`resolve`), or of information about files (`paths-info`).
    fn url(&self, what: &str, name: &str) -> Url {
        let name = name.split('/').filter(|part| !part.is_empty());
        let rest = [what, self.commit].into_iter().chain(name);
        if what == "resolve" {
            self.client.url(self.id.split('/').chain(rest))
        } else {
            self.client.url(api_path(self.id).chain(rest))
        }
    }

    /// Checks that the disk has room for `bytes` more bytes.
    fn check_room(&self, name: &str, bytes: u64) -> Result<()> {
        if bytes < LARGE {
            return Ok(());
        }
        match available_bytes(&self.repository.snapshot_dir(self.commit)) {
            Some(free) if free < bytes => {
                Err(error!("{name} takes {}, and {} are free on its disk", size(bytes), size(free))
                    .help("free some, or set HF_HOME to a directory on another disk"))
            }
            _ => Ok(()),
        }
    }

    /// Deletes the incomplete file, so that the next attempt starts at its beginning. Returns
    /// `stop`.
    fn restart(&self, slot: &str, stop: Stop) -> Stop {
        self.repository.delete_incomplete(slot).map_or_else(Stop::Final, |()| stop)
    }
}

fn length(file: &File, name: &str) -> Result<u64> {
    Ok(file.metadata().map_err(|e| error!("{name} can't be read: {e}"))?.len())
}

fn short(name: &str, came: u64, size: u64) -> Stop {
    Stop::Passing(
        error!("{name} came as {came} bytes, and the Hub has it as {size}")
            .help("try again; if it stays so, something between here and the Hub cuts files short"),
    )
}

fn explain(failure: Failure, name: &str) -> Stop {
    let Refusal { status, elsewhere, .. } = match failure {
        Failure::Broken(why) => {
            return Stop::Passing(
                error!("{name}: the connection dropped ({why})").help("try again"),
            );
        }
        Failure::Stalled(why) => return Stop::Stalled(why),
        Failure::Final(error) if error.ends_the_run() => return Stop::Final(error),
        Failure::Final(error) => return Stop::Final(error.at(name)),
        Failure::Refused(refusal) => refusal,
    };
    let licence =
        "accept the model's licence on its page, and set HF_TOKEN to a token of that account";
    match status {
        StatusCode::NOT_FOUND => error!("the repository has no {name}").into(),
        // Such a URL expires after a while; each attempt asks for a new one.
        _ if elsewhere => Stop::Passing(
            error!("{name}: the host of large files answers {status}").help("try later"),
        ),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Stop::Passing(error!("{name}: the Hub answers {status}").help("try later"))
        }
        _ if status.is_server_error() => {
            Stop::Passing(error!("{name}: the Hub answers {status}").help("try later"))
        }
        StatusCode::UNAUTHORIZED => {
            error!("{name} may not be fetched without a token, or with this one")
                .help(licence)
                .into()
        }
        StatusCode::FORBIDDEN => {
            error!("{name} may not be fetched with this token").help(licence).into()
        }
        _ => error!("{name} can't be fetched: the Hub answers {status}").into(),
    }
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().si().to_string()
}
