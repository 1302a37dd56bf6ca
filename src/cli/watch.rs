//! `precompute run --watch FILE`: runs the script again after every change, with models that stay
//! loaded. `precompute live FILE` is the same for who looks at a page.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::process::reexec;
use crate::script::{Failure, Host, Program, Script};
use crate::system::digest::sha256_hex;
use crate::system::file_changes::Watcher;
use crate::system::interrupt;
use crate::system::message::notice;
use crate::{Error, error};

/// How often a wait for changes checks for Ctrl-C and for what else asks for a run.
const POLL: Duration = Duration::from_millis(20);

/// Who follows what a watched script does.
pub trait Follower {
    /// A script was read and may now run.
    fn prepared(&self, _host: &Host, _script: &Script) {}

    /// A run begins.
    fn begins(&self) {}

    /// A run has succeeded; how long the script took to read and to run.
    fn done(&self, host: &Host, reloaded: Duration, ran: Duration);

    /// A run has failed, or the script can't be read; whether results of an earlier run stand.
    fn failed(&self, failure: &Failure, has_results: bool);

    /// Whether the run that was just ended shall not begin again by itself.
    fn has_stopped(&self) -> bool {
        false
    }

    /// Whether a run is wanted though no file has changed.
    fn asks(&self) -> bool {
        false
    }

    /// Whether the process may be replaced by a new one to end a run that nothing else ends.
    fn may_start_anew(&self) -> bool {
        true
    }
}

/// Who reads standard error.
pub struct Terminal;

impl Follower for Terminal {
    fn done(&self, host: &Host, reloaded: Duration, ran: Duration) {
        report(host, reloaded, ran);
    }

    fn failed(&self, failure: &Failure, has_results: bool) {
        notice(failure);
        if has_results {
            notice("the results of the last good run stand");
        }
    }
}

/// Runs the script now and after every change, until Ctrl-C. With `finish` a run is not ended by a
/// change of its script.
///
/// # Errors
/// The script can't be read at first, or the user ended the program with Ctrl-C.
pub fn watch(
    host: &Host,
    program: &Program,
    finish: bool,
    follower: &impl Follower,
) -> Result<(), Failure> {
    let Program::File(file) = program else {
        return Err(Failure::usage(error!(
            "only a script in a file of yours is watched: nothing else changes"
        )));
    };
    interrupt::clear();
    let mut previous = reexec::previous_run();
    let directory =
        previous.as_ref().and_then(|previous| previous.directory.as_ref()).map(PathBuf::from);
    host.session().run().keep_results(file, directory).map_err(Failure::usage)?;
    let watcher = Watcher::new(move || {
        if !finish {
            interrupt::supersede();
        }
    });
    let mut has_results = false;
    let mut first = true;
    loop {
        let began = Instant::now();
        let script = host.prepare(program);
        let reloaded = began.elapsed();
        watcher.watch(host.files());
        interrupt::resume();
        if first
            && let Err(failure) = &script
            && failure.is_usage()
        {
            return script.map(drop);
        }
        first = false;
        let running = digest(host);
        if follower.may_start_anew() {
            reexec::prepare(&running, &host.session().run().kept_in());
        }
        if previous.take().is_some_and(|previous| previous.run == running) {
            notice(
                "that run has ended with its process: what it had loaded is loaded anew when it runs again",
            );
            wait_for_change(&watcher, file, follower)?;
            continue;
        }

        if let Ok(script) = &script {
            follower.prepared(host, script);
        }
        follower.begins();
        let began = Instant::now();
        let outcome = script.and_then(|script| host.run_prepared(program, &script));
        let ran = began.elapsed();
        // Watch also what the script imported only while it ran.
        watcher.watch(host.files());
        match outcome {
            Ok(_) => {
                has_results = true;
                follower.done(host, reloaded, ran);
            }
            Err(failure) if interrupt::requested_by_person() => return Err(interrupted(failure)),
            Err(failure) if failure.is_interrupted() && !follower.has_stopped() => {
                let changed = watcher.wait(POLL);
                notice(format_args!(
                    "{} during the run: it starts afresh",
                    have_changed(&changed, file)
                ));
                continue;
            }
            Err(failure) => follower.failed(&failure, has_results),
        }
        wait_for_change(&watcher, file, follower)?;
    }
}

/// Waits until the script or a file that it read changes, or the follower asks for a run.
///
/// # Errors
/// Ctrl-C.
fn wait_for_change(
    watcher: &Watcher,
    file: &Path,
    follower: &impl Follower,
) -> Result<(), Failure> {
    notice(format_args!("waiting for {} to change; Ctrl-C ends", file.display()));
    loop {
        let changed = watcher.wait(POLL);
        if interrupt::requested_by_person() {
            return Err(Error::interrupted().into());
        }
        if !changed.is_empty() {
            notice(format_args!("\n{}", have_changed(&changed, file)));
            return Ok(());
        }
        if follower.asks() {
            return Ok(());
        }
    }
}

/// A digest of the script's files, which differs from that of any other texts.
fn digest(host: &Host) -> String {
    sha256_hex(format!("{:?}", host.files()).as_bytes())
}

/// After Ctrl-C a run may fail with another error on its way out. The interrupt is reported
/// instead.
fn interrupted(failure: Failure) -> Failure {
    if failure.is_interrupted() { failure } else { Error::interrupted().into() }
}

fn have_changed(changed: &[PathBuf], file: &Path) -> String {
    match changed {
        [] => format!("{} changed", file.display()),
        changed => {
            let names: Vec<String> =
                changed.iter().map(|path| path.display().to_string()).collect();
            format!("{} changed", names.join(", "))
        }
    }
}

fn report(host: &Host, reloaded: Duration, ran: Duration) {
    notice(format_args!("reloaded in {}, ran in {}", milliseconds(reloaded), milliseconds(ran)));
    let reused = host.session().reuse().report();
    if reused.layers > 0 {
        notice(&reused);
    }
    if let Some(differences) = host.session().run().differences() {
        if differences.is_empty() {
            notice("the results are those of the run before");
        }
        differences.iter().for_each(|line| notice(format_args!("  {line}")));
    }
}

pub(super) fn milliseconds(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds >= 10.0 => format!("{seconds:.1} s"),
        seconds if seconds >= 1.0 => format!("{seconds:.2} s"),
        seconds => format!("{:.0} ms", (seconds * 1e3).max(1.0)),
    }
}
