//! Attacks: scripts, and files beside them, that are set on doing harm. Each drives the real
//! binary, which must refuse in a sentence: no crash, nothing written elsewhere, nothing that goes
//! on.

mod calls;
mod embedded;
mod files;
mod memory;
mod output;
mod terminal;
mod time;

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::binary::{Ran, Workplace};

/// After this a run that should have ended by itself is killed, and its test fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `s.rhai` of a workplace, saving into `out`.
fn run(here: &Workplace, arguments: &[&str]) -> Ran {
    let mut all = vec!["run", "s.rhai", "--out", "out"];
    all.extend(arguments);
    let mut command = here.command(&all);
    // Into files: a pipe that nobody empties would hold up the run.
    let (out, err) = (here.path().join("stdout"), here.path().join("stderr"));
    command
        .stdout(std::fs::File::create(&out).unwrap())
        .stderr(std::fs::File::create(&err).unwrap());
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if began.elapsed() > PATIENCE => {
                child.kill().unwrap();
                break child.wait().unwrap();
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let text = |path| String::from_utf8(std::fs::read(path).unwrap()).unwrap();
    Ran { code: status.code(), stdout: text(out), stderr: text(err) }
}

/// The attack fails: exit code 1, and `sentence` in the error's line.
#[track_caller]
fn refused(ran: &Ran, sentence: &str, attack: &str) {
    let attack: String = attack.chars().take(300).collect();
    let said: String = ran.stderr.chars().take(2000).collect();
    assert_eq!(ran.code, Some(1), "{attack}\n{said}");
    let error = said.lines().find(|line| line.starts_with("error: "));
    assert!(error.is_some_and(|error| error.contains(sentence)), "{attack}\n{said}");
    assert!(!said.contains("this is a bug"), "{attack}\n{said}");
}

/// Each script alone in a directory, refused with the sentence beside it.
#[track_caller]
fn all_refused(arguments: &[&str], attacks: &[(&str, &str)]) {
    for (attack, sentence) in attacks {
        refused(&run(&Workplace::new(&[("s.rhai", attack)]), arguments), sentence, attack);
    }
}

/// Each script does what it does, and no harm: its last value is shown.
#[track_caller]
fn all_harmless(arguments: &[&str], attacks: &[(&str, &str)]) {
    for (attack, shown) in attacks {
        let ran = run(&Workplace::new(&[("s.rhai", attack)]), arguments);
        assert_eq!(
            (ran.code, ran.stdout.trim_end()),
            (Some(0), *shown),
            "{attack}\n{}",
            ran.stderr
        );
    }
}
