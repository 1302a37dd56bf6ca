//! What a run may use up, whatever its script says.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use bytesize::ByteSize;

use crate::system::abort_handler::Exhausted;
use crate::system::{abort_handler, interrupt};
use crate::{Error, Result, error};

/// The limits of one run. A run that meets one ends with a sentence that says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long it may take, loading its models included. The clock is the process's, as Ctrl-C
    /// is: where scripts run in several threads, the first whose time is over ends all.
    pub time: Duration,
    /// What it may hold, models aside, in bytes: tensors, on any device. Where the program's
    /// allocator is [`CountingAllocator`](crate::system::memory::CountingAllocator), strings, arrays, maps and
    /// an operation's working memory too.
    pub memory: u64,
    /// What it may print and save together, in bytes.
    pub output: u64,
    /// How many files it may save, the folders that it makes for them among them.
    pub files: usize,
    /// How many steps (expressions, statements and calls) its script may take.
    pub steps: u64,
    /// How deep functions may call each other.
    pub calls: usize,
    /// How deep expressions and blocks may nest.
    pub depth: usize,
}

impl Limits {
    pub const DEFAULT: Self = Self {
        time: Duration::from_hours(24),
        memory: 8 << 30,
        output: 4 << 30,
        files: 10_000,
        steps: 100_000_000_000,
        calls: 200,
        depth: 200,
    };

    /// What to say where the run holds too much.
    pub fn memory_exceeded(&self) -> Error {
        let memory = ByteSize(self.memory).display().iec();
        Error::ended(format!("the run needs more than {memory} of memory"))
            .help("--max-memory allows more")
    }

    fn time_exceeded(&self) -> Error {
        let time = jiff::SignedDuration::try_from(self.time)
            .map_or_else(|_| String::new(), |time| format!("{time:#}"));
        Error::ended(format!("the run has taken longer than {time}")).help("--timeout allows more")
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How long an operation may go on after the time is over, before the last resort is taken.
const GRACE: Duration = Duration::from_secs(2);

/// Watches the clock of one run, until it is dropped.
pub struct Deadline {
    done: Option<Sender<()>>,
    watch: Option<JoinHandle<()>>,
}

impl Deadline {
    /// # Errors
    /// No thread can be started.
    pub fn start(limits: Limits) -> Result<Self> {
        interrupt::clear_time();
        let (done, ended) = channel();
        let watch = move || {
            if ended.recv_timeout(limits.time) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let error = limits.time_exceeded();
            interrupt::time_over(&error.to_string());
            if ended.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout) {
                abort_handler::invoke(Exhausted::Time, &error.to_string());
            }
        };
        let watch = Builder::new().name("deadline".into()).spawn(watch);
        let watch = watch.map_err(|cause| error!("no thread can be started: {cause}"))?;
        Ok(Self { done: Some(done), watch: Some(watch) })
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(watch) = self.watch.take() {
            let _ = watch.join();
        }
        interrupt::clear_time();
    }
}
