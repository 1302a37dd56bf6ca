//! The files of one commit, into the cache: retried, resumed where they are large, and refused where they come short.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hf_hub::progress::{DownloadEvent, Progress, ProgressEvent, ProgressHandler};
use hf_hub::repository::RepoTreeEntry;
use hf_hub::{HFError, RepoTypeModel};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use super::cache;
use crate::{Error, Result, error, interrupt};

/// How often a file is asked for without getting further before the download counts as failed.
const ATTEMPTS: u32 = 4;

/// A download that is resumed comes in pieces of this size.
const PIECE: u64 = 16 << 20;

pub type Repository = hf_hub::HFRepositorySync<RepoTypeModel>;

/// The files of one commit.
pub struct Source {
    pub repository: Repository,
    /// Where the cache keeps the repository.
    pub directory: PathBuf,
    pub commit: String,
    pub pulse: Arc<Pulse>,
}

/// When something last came from the Hub, and whether anyone still waits for it.
pub struct Pulse {
    last: Mutex<Instant>,
    abandoned: AtomicBool,
}

impl Pulse {
    pub fn new() -> Self {
        Self { last: Mutex::new(Instant::now()), abandoned: AtomicBool::new(false) }
    }

    /// Something came. Where nobody waits for it, the thread unwinds: it is how a transfer of hf-hub's is ended from within.
    fn beat(&self) {
        if self.abandoned.load(Ordering::Relaxed) {
            std::panic::resume_unwind(Box::new("abandoned"));
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub fn silence(&self) -> Duration {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Has the transfer end at the next beat.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

impl Source {
    /// One file's place in the cache, to which it is fetched if it is not there.
    ///
    /// # Errors
    /// There is no such file, it may not be had, it keeps coming short, the disk is full.
    pub fn fetch(&self, name: &str) -> Result<PathBuf> {
        let (mut attempt, mut come) = (0, 0);
        loop {
            interrupt::check()?;
            self.pulse.beat();
            let failure = match self.resume(name).and_then(|()| self.download(name)) {
                Ok(path) => return Ok(path),
                Err(Stop::Final(error)) => return Err(error),
                Err(Stop::Passing(error)) => error,
            };
            let partial = cache::partial(&self.directory).map_or(0, |(_, length)| length);
            attempt = if partial > come { 0 } else { attempt + 1 };
            come = come.max(partial);
            if attempt == ATTEMPTS {
                return Err(failure);
            }
            std::thread::sleep(Duration::from_millis(200 << attempt));
        }
    }

    fn download(&self, name: &str) -> Result<PathBuf, Stop> {
        let bar = Arc::new(Bar::new(name, 0, self.pulse.clone()));
        let sent = self
            .repository
            .download_file()
            .filename(name)
            .revision(&self.commit)
            .progress(Progress::from(bar.clone()))
            .send();
        bar.line.finish_and_clear();
        let path = sent.map_err(|e| explain(e, name))?;
        let expected = bar.expected.load(Ordering::Relaxed);
        let got = std::fs::metadata(&path).map(|meta| meta.len()).unwrap_or(0);
        if expected > 0 && got != expected {
            discard(&path);
            return Err(Stop::Passing(
                error!("{name} came as {got} bytes, and the Hub has it as {expected}")
                    .help("try again; if it stays so, something between here and the Hub cuts files short"),
            ));
        }
        Ok(path)
    }

    /// Fetches what is missing of a large file whose download broke off, in this run or an earlier one. It is taken as
    /// whole only if its SHA-256 is the one that it is stored under, so that a wrong guess costs time and nothing else.
    fn resume(&self, name: &str) -> Result<(), Stop> {
        if self.directory.join("snapshots").join(&self.commit).join(name).exists() {
            return Ok(());
        }
        let Some((path, mut come)) = cache::partial(&self.directory) else { return Ok(()) };
        let Some(size) = self.large(name)?.filter(|size| come <= *size) else { return Ok(()) };
        let Some(_lock) = cache::lock(&self.directory, &path).map_err(|e| unwritten(name, &e))? else { return Ok(()) };
        let bar = Arc::new(Bar::new(name, come, self.pulse.clone()));
        bar.line.set_length(size);
        let mut file = OpenOptions::new().append(true).open(&path).map_err(|e| unwritten(name, &e))?;
        while come < size {
            interrupt::check().map_err(Stop::Final)?;
            let end = size.min(come + PIECE);
            let bytes = self
                .repository
                .download_file_to_bytes()
                .filename(name)
                .revision(&self.commit)
                .range(come..end)
                .progress(Progress::from(bar.clone()))
                .send()
                .map_err(|e| explain(e, name))?;
            if bytes.len() as u64 != end - come {
                return restart(&path, name);
            }
            file.write_all(&bytes).map_err(|e| unwritten(name, &e))?;
            come = end;
            bar.from.store(come, Ordering::Relaxed);
        }
        bar.line.finish_and_clear();
        match path.file_stem() {
            Some(sha) if *sha == *self.sha256(&path).map_err(|e| unwritten(name, &e))? => {
                std::fs::rename(&path, path.with_extension("")).map_err(|e| unwritten(name, &e))
            }
            _ => restart(&path, name),
        }
    }

    /// The size of a file that is stored under its SHA-256, as only large ones are.
    fn large(&self, name: &str) -> Result<Option<u64>, Stop> {
        let paths = vec![name.to_owned()];
        let entries = self.repository.get_paths_info().paths(paths).revision(&self.commit).send();
        Ok(entries.map_err(|e| explain(e, name))?.into_iter().find_map(|entry| match entry {
            RepoTreeEntry::File { path, size, lfs: Some(_), .. } if path == name => Some(size),
            _ => None,
        }))
    }

    fn sha256(&self, path: &Path) -> std::io::Result<String> {
        let (mut file, mut digest, mut block) = (File::open(path)?, Sha256::new(), vec![0; 1 << 20]);
        loop {
            match file.read(&mut block)? {
                0 => return Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
                n => digest.update(&block[..n]),
            }
            self.pulse.beat();
        }
    }
}

/// What came of a file is no beginning of it.
fn restart(path: &Path, name: &str) -> Result<(), Stop> {
    std::fs::remove_file(path).map_err(|e| unwritten(name, &e))
}

/// A file that came short is neither kept nor taken for the whole.
fn discard(path: &Path) {
    if let Ok(blob) = std::fs::canonicalize(path) {
        let _ = std::fs::remove_file(blob);
    }
    let _ = std::fs::remove_file(path);
}

/// Why a file did not come.
enum Stop {
    /// It may come if it is asked for again.
    Passing(Error),
    Final(Error),
}

fn unwritten(name: &str, e: &std::io::Error) -> Stop {
    Stop::Final(match e.kind() {
        std::io::ErrorKind::StorageFull => error!("{name} can't be kept: the disk is full"),
        _ => error!("{name} can't be written to the cache: {e}"),
    })
}

fn explain(e: HFError, name: &str) -> Stop {
    Stop::Final(match e {
        HFError::Request { source, .. } => {
            let why = innermost(&source);
            return Stop::Passing(error!("{name}: the connection dropped ({why})").help("try again"));
        }
        HFError::Xet { source, .. } => {
            let why = innermost(source.as_ref());
            return Stop::Passing(error!("{name}: the connection dropped ({why})").help("try again"));
        }
        HFError::Http { context } if context.status.is_server_error() => {
            return Stop::Passing(error!("{name}: the Hub answers {}", context.status).help("try later"));
        }
        HFError::Io(e) => return unwritten(name, &e),
        HFError::EntryNotFound { .. } => error!("the repository has no {name}"),
        HFError::AuthRequired { .. } => error!("{name} may not be fetched without a token, or with this one")
            .help("accept the model's licence on its page, and set HF_TOKEN to a token of that account"),
        HFError::Forbidden { .. } => error!("{name} may not be fetched with this token")
            .help("accept the model's licence on its page, and set HF_TOKEN to a token of that account"),
        HFError::CacheLockTimeout { .. } => {
            error!("another process is fetching {name}").help("wait until it is done, or end it")
        }
        other => error!("{name} can't be fetched: {other}"),
    })
}

/// The cause at the bottom: "connection refused" rather than "error sending request".
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A file's progress, on standard error where that is a terminal.
struct Bar {
    line: ProgressBar,
    /// Where what is being fetched begins.
    from: AtomicU64,
    /// The size that the server announced.
    expected: AtomicU64,
    pulse: Arc<Pulse>,
}

impl Bar {
    fn new(name: &str, from: u64, pulse: Arc<Pulse>) -> Self {
        let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        let line = ProgressBar::no_length().with_message(name.to_owned());
        Self {
            line: line.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
            from: from.into(),
            expected: AtomicU64::new(0),
            pulse,
        }
    }

    fn come(&self, bytes: u64) {
        self.line.set_position(self.from.load(Ordering::Relaxed) + bytes);
    }
}

impl ProgressHandler for Bar {
    fn on_progress(&self, event: &ProgressEvent) {
        let ProgressEvent::Download(event) = event else { return };
        self.pulse.beat();
        match event {
            DownloadEvent::Start { total_bytes, .. } => {
                self.expected.store(*total_bytes, Ordering::Relaxed);
                if self.line.length().is_none() {
                    self.line.set_length(*total_bytes);
                }
            }
            DownloadEvent::Progress { files } => files.iter().for_each(|file| self.come(file.bytes_completed)),
            DownloadEvent::AggregateProgress { bytes_completed, .. } => self.come(*bytes_completed),
            DownloadEvent::Complete => {}
        }
    }
}
