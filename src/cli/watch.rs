//! `precompute run --watch FILE`: runs the script again after every change, with models that stay
//! loaded.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::process::reexec;
use crate::script::{Failure, Host, Program};
use crate::system::digest::sha256_hex;
use crate::system::file_changes::Watcher;
use crate::system::interrupt;
use crate::system::message::notice;
use crate::{Error, error};

/// How often a wait for changes checks for Ctrl-C.
const POLL: Duration = Duration::from_millis(100);

/// Runs the script now and after every change, until Ctrl-C. With `finish` a run is not ended by a
/// change of its script.
///
/// # Errors
/// The script can't be read at first, or the user ended the program with Ctrl-C.
pub fn watch(host: &Host, program: &Program, finish: bool) -> Result<(), Failure> {
    let Program::File(file) = program else {
        return Err(Failure::usage(error!(
            "--watch takes a script in a file of yours: nothing else changes"
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
        reexec::prepare(&running, &host.session().run().kept_in());
        if previous.take().is_some_and(|previous| previous.run == running) {
            notice(
                "that run has ended with its process: what it had loaded is loaded anew when it runs again",
            );
            wait_for_change(&watcher, file)?;
            continue;
        }

        let began = Instant::now();
        let outcome = script.and_then(|script| host.run_prepared(program, &script));
        let ran = began.elapsed();
        // Watch also what the script imported only while it ran.
        watcher.watch(host.files());
        match outcome {
            Ok(_) => {
                has_results = true;
                report(host, reloaded, ran);
            }
            Err(failure) if interrupt::requested_by_person() => return Err(interrupted(failure)),
            Err(failure) if failure.is_interrupted() => {
                let changed = watcher.wait(POLL);
                notice(format_args!(
                    "{} during the run: it starts afresh",
                    have_changed(&changed, file)
                ));
                continue;
            }
            Err(failure) => {
                notice(&failure);
                if has_results {
                    notice("the results of the last good run stand");
                }
            }
        }
        wait_for_change(&watcher, file)?;
    }
}

/// Waits until the script or a file that it read changes.
///
/// # Errors
/// Ctrl-C.
fn wait_for_change(watcher: &Watcher, file: &Path) -> Result<(), Failure> {
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

fn milliseconds(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds >= 10.0 => format!("{seconds:.1} s"),
        seconds if seconds >= 1.0 => format!("{seconds:.2} s"),
        seconds => format!("{:.0} ms", (seconds * 1e3).max(1.0)),
    }
}
