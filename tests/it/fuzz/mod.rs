//! Random changes to what strangers write, each reader by itself: whatever is read, there comes a
//! value or a sentence of it, soon.
//!
//! `cargo test --test it fuzz::` takes some hundred cases of each reader from a fixed seed,
//! starting with the files in `tests/fuzz/READER`. With `PRECOMPUTE_FUZZ=3600` each goes on for as
//! many seconds, from a seed of its own that `PRECOMPUTE_FUZZ_SEED` repeats. What breaks a reader
//! is written to `target/fuzz` and named: as a file in `tests/fuzz/READER` it is read first from
//! then on.

mod change;
mod readers;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use change::Random;

/// What came of a case: its sentence, or nothing where it was taken.
type Outcome = Result<(), String>;

/// How many cases a test takes.
const CASES: usize = 300;

/// The processor time that no reader needs for the little that it is given. The wall clock says
/// nothing beside other work; it only ends what waits.
const LONGEST: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The most inputs that cases are made from.
const KEPT: usize = 2000;

fn seeds(reader: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(reader);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// Gives changed inputs to a reader. Those that it says something new of are changed further: that
/// leads deeper than chance.
fn fuzz(reader: &str, words: &[&str], read: impl Fn(&[u8]) -> Outcome) {
    let seconds = setting("PRECOMPUTE_FUZZ");
    let seed = setting("PRECOMPUTE_FUZZ_SEED").unwrap_or(match seconds {
        None => 1,
        Some(_) => std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
    });
    let mut random = Random::new(seed);
    let mut inputs = seeds(reader);
    let first = inputs.len();
    let mut said = BTreeSet::new();
    let began = Instant::now();
    let mut cases = 0;
    loop {
        let input = match inputs.get(cases) {
            Some(seed) if cases < first => seed.clone(),
            _ => random.changed(&inputs, words),
        };
        let outcome = attempt(reader, seed, &input, &read);
        cases += 1;
        if said.insert(shape(&outcome)) && inputs.len() < KEPT && input.len() < 1 << 16 {
            inputs.push(input);
        }
        let done = match seconds {
            None => cases >= CASES,
            Some(seconds) => began.elapsed() >= Duration::from_secs(seconds),
        };
        if done {
            break;
        }
    }
    assert!(said.len() > 1, "{reader}: {cases} cases, and all are alike");
    println!("{reader}: {cases} cases from seed {seed}, {} different outcomes", said.len());
}

#[track_caller]
fn attempt(reader: &str, seed: u64, input: &[u8], read: &impl Fn(&[u8]) -> Outcome) -> Outcome {
    let (began, spent) = (Instant::now(), processor_time());
    let outcome = catch_unwind(AssertUnwindSafe(|| read(input)));
    let spent = processor_time() - spent;
    let wrong = match &outcome {
        Err(_) => "panics",
        Ok(_) if spent > LONGEST || began.elapsed() > LONGEST_WAIT => "takes too long",
        Ok(Err(sentence)) if sentence.trim().is_empty() => "says nothing",
        Ok(Err(sentence)) if sentence.contains("this is a bug") => "has a bug",
        Ok(_) => return outcome.unwrap_or(Ok(())),
    };
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz");
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join(format!("{reader}-{seed}-{}", input.len()));
    std::fs::write(&file, input).unwrap();
    panic!("the reader of {reader} {wrong}: {}", file.display());
}

/// The processor time that this thread has taken.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock writes one timespec, and `time` is one.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "the thread's clock can't be read");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A sentence without what differs from case to case.
fn shape(outcome: &Outcome) -> String {
    let Err(sentence) = outcome else { return "taken".into() };
    // The directory that a case stood in is another each time.
    let sentence = sentence.rsplit('/').next().unwrap_or_default();
    let plain: String = sentence
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphabetic() || *c == ' ')
        .collect();
    plain.chars().take(80).collect()
}
