//! The files of one commit, into the cache: retried, resumed where they are large, and kept only
//! where they are what the Hub announced.

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
use super::validate::check_path;
use crate::system::digest::sha256_hex;
use crate::system::disk::available_bytes;
use crate::system::interrupt;
use crate::{Error, Result, error};

/// How often a file is asked for without getting further before the download counts as failed.
const ATTEMPTS: u32 = 4;

/// How many bytes further is further: so many attempts are the most that a file of some size takes.
const FURTHER: u64 = 64 << 10;

/// Below this many bytes nobody asks whether the disk has room.
const LARGE: u64 = 16 << 20;

/// The files of one commit of a repository.
pub struct CommitFetcher<'a> {
    client: &'a Client,
    id: &'a str,
    commit: &'a str,
    repository: CacheRepository,
    /// Why a transfer stood still.
    stalled: RefCell<Option<String>>,
}

/// Why a file did not come.
enum Stop {
    /// It may come if it is asked for again.
    Passing(Error),
    /// It came, and is not what was announced.
    Wrong(Error),
    Stalled(String),
    Final(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Final(error)
    }
}

impl<'a> CommitFetcher<'a> {
    pub fn new(
        client: &'a Client,
        id: &'a str,
        commit: &'a str,
        repository: CacheRepository,
    ) -> Self {
        Self { client, id, commit, repository, stalled: RefCell::default() }
    }

    /// Notes what the revision stood for, now that what is wanted of it is here.
    ///
    /// # Errors
    /// The cache can't be written to.
    pub fn write_ref(&self, revision: &str) -> Result<()> {
        self.repository.write_ref(revision, self.commit)
    }

    /// Whether the last error was that of a transfer that stood still, and why.
    pub fn stalled(&self) -> Option<String> {
        self.stalled.borrow().clone()
    }

    /// The place in the cache of a file of at most `most` bytes, to which it is fetched if it is
    /// not there.
    ///
    /// # Errors
    /// There is no such file, it may not be had, it is not what was announced, it keeps coming
    /// short, the disk is full.
    pub fn fetch(&self, name: &str, most: u64) -> Result<PathBuf> {
        check_path(name).map_err(|e| e.at(format_args!("{name:?}")))?;
        if let Some(path) = self.repository.file(self.commit, name)? {
            return Ok(path);
        }
        let (mut attempt, mut was_wrong) = (0, false);
        // How much is here, now and when an attempt last got further.
        let (mut kept, mut before) = (0, 0);
        loop {
            interrupt::check()?;
            let why = match self.attempt(name, most, &mut kept) {
                Ok(path) => return Ok(path),
                Err(Stop::Final(error)) => return Err(error),
                Err(Stop::Stalled(why)) => return Err(self.stands_still(name, why, kept)),
                Err(Stop::Wrong(error)) if was_wrong => return Err(error),
                Err(Stop::Wrong(_)) => {
                    was_wrong = true;
                    continue;
                }
                Err(Stop::Passing(error)) => error,
            };
            if kept >= before + FURTHER {
                (attempt, before) = (0, kept);
            } else {
                attempt += 1;
            }
            if attempt == ATTEMPTS {
                return Err(why);
            }
            std::thread::sleep(Duration::from_millis(200 << attempt));
        }
    }

    fn stands_still(&self, name: &str, why: String, kept: u64) -> Error {
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

    fn attempt(&self, name: &str, most: u64, kept: &mut u64) -> Result<PathBuf, Stop> {
        let refused = |failure| explain(failure, name);
        let (headers, redirects) = self.client.head(self.url("resolve", name)).map_err(refused)?;
        let announced = response::parse_file_metadata(&headers, redirects, self.commit)
            .map_err(|e| e.at(name))?;
        if let Some(announced) = announced.size.filter(|size| *size > most) {
            let error = error!(
                "{name} has {}, and such a file has at most {}",
                size(announced),
                size(most)
            );
            return Err(error.into());
        }
        if let Some(hash) = &announced.hash
            && self.has(hash, name, announced.size)?
        {
            return Ok(self.repository.link(self.commit, name, hash.digits())?);
        }
        // A file of no announced hash is kept under its own, which is not known before it has come.
        let slot = announced.hash.as_ref().map_or_else(
            || sha256_hex(format!("{}/{name}", self.commit).as_bytes()),
            |hash| hash.digits().to_owned(),
        );
        let _lock = self.repository.lock(&slot, name)?;
        if let Some(hash) = &announced.hash
            && self.has(hash, name, announced.size)?
        {
            return Ok(self.repository.link(self.commit, name, hash.digits())?);
        }
        let partial = self.repository.incomplete(&slot)?;
        let hash = match self.receive(partial, name, most, &slot, &announced, kept) {
            Ok(hash) => hash,
            // What can't be resumed is not left lying about.
            Err(stop) if *kept == 0 => return Err(self.restart(&slot, stop)),
            Err(stop) => return Err(stop),
        };
        self.repository.complete(&slot, hash.digits())?;
        Ok(self.repository.link(self.commit, name, hash.digits())?)
    }

    /// Whether the contents of that hash are here. What is here under their name and is something
    /// else is deleted.
    fn has(&self, hash: &Hash, name: &str, announced: Option<u64>) -> Result<bool, Stop> {
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

    /// Fetches what is missing of a file, of which a download that broke off may have left the
    /// beginning. Gives the hash that it is kept under. What is not what was announced is not
    /// kept.
    fn receive(
        &self,
        mut file: File,
        name: &str,
        most: u64,
        slot: &str,
        announced: &FileMetadata,
        kept: &mut u64,
    ) -> Result<Hash, Stop> {
        let cannot_write = |e: std::io::Error| Stop::Final(not_written(name, &e));
        // Only what is told by its hash is resumed: a wrong beginning costs time and nothing else.
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
            let Some(size) = announced.size.or(total).filter(|size| *size <= most) else {
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
            self.room(name, size - come)?;
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

    /// The hash that contents are to be kept under; nothing where they are not those that the Hub
    /// announced. An ETag of 40 digits is git's hash, unless the Hub's list of files, which is
    /// asked where it does not fit, has another or none.
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

    /// Where a file is at the Hub, or with `paths-info` what there is said of files.
    fn url(&self, what: &str, name: &str) -> Url {
        let id = self.id.split('/');
        let parts =
            id.chain([what, self.commit]).chain(name.split('/').filter(|part| !part.is_empty()));
        if what == "resolve" {
            self.client.url(parts)
        } else {
            self.client.url(["api", "models"].into_iter().chain(parts))
        }
    }

    fn room(&self, name: &str, bytes: u64) -> Result<()> {
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

    /// What has come is no beginning of the file.
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
        // An address there is good for a while, and asked for anew with each attempt.
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
