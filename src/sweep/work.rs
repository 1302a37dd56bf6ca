//! Runs the combinations of a sweep, each in a process of its own.

use std::collections::VecDeque;
use std::fs::File;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::folder::{Failed, Folder, State};
use super::plan::Item;
use crate::kernel::cpu::parallel;
use crate::system::file::{FileKind, describe_io_error};
use crate::system::{escape, file, interrupt};
use crate::{Error, Result, error};

/// How often a process is looked at.
const POLL: Duration = Duration::from_millis(20);

/// How a combination is run.
pub struct Runner<'a> {
    /// The sweep's directory.
    pub folder: &'a Folder,
    /// The script, as it was named.
    pub script: &'a str,
    /// Further arguments of `precompute run`, the same for all.
    pub arguments: &'a [String],
    /// How many run at a time.
    pub jobs: usize,
}

/// How combinations ended.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// How many are done.
    pub done: usize,
    /// Those that have failed.
    pub failed: Vec<Failed>,
}

impl Runner<'_> {
    /// Runs combinations, so many at a time, and notes which have failed. Where the process is asked
    /// to end, those under way are ended, and count as not run.
    ///
    /// # Errors
    /// The process was asked to end; no process can be started, or the directory can't be written.
    pub fn run(&self, items: Vec<Item>) -> Result<Outcome> {
        let lines = Lines::new(items.len(), self.jobs);
        let waiting = Mutex::new(VecDeque::from(items));
        let outcome = Mutex::new((Outcome::default(), None::<Error>));
        std::thread::scope(|scope| {
            for job in 0..self.jobs {
                let (waiting, outcome, lines) = (&waiting, &outcome, &lines);
                scope.spawn(move || {
                    loop {
                        let next =
                            waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                        let Some(item) = next.filter(|_| !interrupt::requested()) else { return };
                        lines.begin(job, &item);
                        let ended = self.run_one(&item);
                        let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
                        match ended {
                            Ok(None) => outcome.0.done += 1,
                            Ok(Some(failed)) => outcome.0.failed.push(failed),
                            Err(error) => {
                                outcome.1.get_or_insert(error);
                                waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
                            }
                        }
                        lines.end(outcome.0.failed.len());
                    }
                });
            }
        });
        lines.clear();
        interrupt::check()?;
        match outcome.into_inner().unwrap_or_else(PoisonError::into_inner) {
            (outcome, None) => Ok(outcome),
            (_, Some(error)) => Err(error),
        }
    }

    /// Runs a combination. Returns why it has failed, if it has.
    fn run_one(&self, item: &Item) -> Result<Option<Failed>> {
        let log = self.folder.log(&item.id);
        let cannot = |e: std::io::Error| {
            error!("{} can't be written: {}", log.display(), describe_io_error(&e))
        };
        let out = File::create(&log).map_err(cannot)?;
        let errors = out.try_clone().map_err(cannot)?;
        let mut child = self
            .command(item)?
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .spawn()
            .map_err(|e| error!("no process can be started: {}", describe_io_error(&e)))?;
        let status = wait(&mut child)?;
        if status.success() && self.folder.state(&item.id) == State::Done {
            self.folder.forget_failure(&item.id);
            return Ok(None);
        }
        interrupt::check()?;
        let code = status.code();
        let failed = Failed {
            item: item.clone(),
            code,
            message: last_error(&file::read(&log, FileKind::Record).unwrap_or_default(), status),
            // 1 and 2 are what the script or the command line did; a signal came from outside.
            retryable: !matches!(code, Some(0..=2)),
        };
        self.folder.note_failure(&failed)?;
        Ok(Some(failed))
    }

    fn command(&self, item: &Item) -> Result<Command> {
        let program =
            std::env::current_exe().map_err(|e| error!("this program can't be found: {e}"))?;
        let mut command = Command::new(program);
        command.args(["run", self.script, "--resume", "--out"]).arg(self.folder.item(&item.id));
        for (name, value) in &item.parameters {
            command.arg("--set").arg(format!("{name}={value}"));
        }
        if let Some((_, seed)) = item.repetition {
            command.arg("--seed").arg(seed.to_string());
        }
        command.args(self.arguments);
        // Several processes that use all cores each would hinder one another.
        if self.jobs > 1 && std::env::var_os(parallel::VARIABLE).is_none() {
            let each = (parallel::allowed() / self.jobs).max(1);
            command.env(parallel::VARIABLE, each.to_string());
        }
        Ok(command)
    }
}

/// Waits for a process, and asks it to end if this one shall end.
fn wait(child: &mut Child) -> Result<ExitStatus> {
    let mut asked = false;
    loop {
        let status = child.try_wait().map_err(|e| error!("a process can't be waited for: {e}"))?;
        if let Some(status) = status {
            return Ok(status);
        }
        if interrupt::requested() && !asked {
            asked = true;
            end(child);
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(unix)]
fn end(child: &mut Child) {
    if let Ok(process) = i32::try_from(child.id()) {
        // SAFETY: `kill` takes two integers and reads no memory of this process. The child has not
        // been waited for, so that its id is still its own.
        let _ = unsafe { libc::kill(process, libc::SIGTERM) };
    }
}

#[cfg(not(unix))]
fn end(child: &mut Child) {
    let _ = child.kill();
}

/// The last error in what a process printed, in one line.
fn last_error(log: &[u8], status: ExitStatus) -> String {
    let log = String::from_utf8_lossy(log);
    let error = log.lines().rev().find_map(|line| line.strip_prefix("error: "));
    let shown = error.map(|error| escape::control_characters(error).into_owned());
    shown.unwrap_or_else(|| format!("it ended with {status}"))
}

/// What a person sees meanwhile, on a terminal: a line for each process, and one of them all.
struct Lines {
    all: ProgressBar,
    jobs: Vec<ProgressBar>,
}

impl Lines {
    fn new(items: usize, jobs: usize) -> Self {
        let lines = MultiProgress::new();
        let style = |template: &str| {
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
        };
        let job =
            |_| lines.add(ProgressBar::new_spinner().with_style(style("  {elapsed:>4} {msg}")));
        let jobs = (0..jobs).map(job).collect();
        let all = ProgressBar::new(items as u64)
            .with_style(style("{bar:30} {pos}/{len} {eta} left {msg}"));
        Self { all: lines.add(all), jobs }
    }

    fn begin(&self, job: usize, item: &Item) {
        self.jobs[job].reset();
        self.jobs[job].set_message(named(item));
    }

    fn end(&self, failed: usize) {
        if failed > 0 {
            self.all.set_message(format!("{failed} failed"));
        }
        self.all.inc(1);
    }

    fn clear(&self) {
        self.jobs.iter().for_each(ProgressBar::finish_and_clear);
        self.all.finish_and_clear();
    }
}

/// A combination by its parameters, as a terminal may show it: `layer=3 lr=0.1`.
pub fn named(item: &Item) -> String {
    let mut words: Vec<String> =
        item.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    words.extend(item.repetition.map(|(_, seed)| format!("seed {seed}")));
    match words.is_empty() {
        true => "the script as it is".into(),
        false => escape::control_characters(&words.join(" ")).into_owned(),
    }
}
