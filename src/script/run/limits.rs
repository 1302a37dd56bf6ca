//! What a run may use: time, memory, output, steps and depths.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use bytesize::ByteSize;

use crate::system::abort_handler::Exhausted;
use crate::system::{abort_handler, interrupt};
use crate::{Error, Result, error};

/// The limits of one run. A run that reaches one ends with an error that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The time it may take, including loading models. There is one clock for the process: if
    /// scripts run in several threads, the first that is out of time ends all.
    pub time: Duration,
    /// The bytes that it may hold besides models: tensors, on any device. If the program's
    /// allocator is [`CountingAllocator`](crate::system::memory::CountingAllocator), also strings, arrays, maps and
    /// the working memory of operations.
    pub memory: u64,
    /// The bytes that it may print and save together.
    pub output: u64,
    /// The number of files that it may save, including the directories created for them.
    pub files: usize,
    /// The number of steps (expressions, statements and calls) of its script.
    pub steps: u64,
    /// The depth of nested function calls.
    pub calls: usize,
    /// The depth of nested expressions and blocks.
    pub depth: usize,
}

impl Limits {
    /// The limits of the command line when no option sets them.
    pub const DEFAULT: Self = Self {
        time: Duration::from_hours(24),
        memory: 8 << 30,
        output: 4 << 30,
        files: 10_000,
        steps: 100_000_000_000,
        calls: 200,
        depth: 200,
    };

    /// The error of a run that holds too much memory.
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

/// How long an operation may continue after the time limit before the process is ended.
const GRACE: Duration = Duration::from_secs(2);

/// The time limit of a run in progress. Dropping it ends the limit.
pub struct Deadline {
    done: Option<Sender<()>>,
    watch: Option<JoinHandle<()>>,
}

impl Deadline {
    /// Starts the clock.
    ///
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
