//! `precompute sweep`: every combination once, what is done not again, failures apart, parts that
//! are joined.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::binary::{Ran, Workplace};

const SCRIPT: &str = "let a = param(\"a\", 1); let word = param(\"word\", \"x\"); \
    if a == 3 { throw \"three is too much\"; } record(#{square: a * a, word_length: word.len(), drawn: rand(1)[0].item()}); print(a);";

fn place() -> Workplace {
    Workplace::new(&[("s.rhai", SCRIPT)])
}

fn sweep(place: &Workplace, arguments: &[&str]) -> Ran {
    let all = [&["sweep", "s.rhai", "--out", "out"], arguments].concat();
    let mut command = place.command(&all);
    for name in ["SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX", "HQ_TASK_ID"] {
        command.env_remove(name);
    }
    command.output().unwrap().into()
}

/// The rows of sweep.parquet, as they are shown.
fn rows(place: &Workplace) -> Vec<String> {
    let file = std::fs::File::open(place.path().join("out/sweep.parquet")).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| row.unwrap().to_string()).collect()
}

fn names(directory: PathBuf) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn each_combination_is_run_once_and_gathered() {
    let place = place();
    let first = sweep(&place, &["--grid", "a=1,2", "--grid", "word=ab,c", "--jobs", "2"]);
    assert_eq!(first.code, Some(0), "{}{}", first.stdout, first.stderr);
    assert!(first.stdout.contains("4 of 4 combinations are done; 4 ran"), "{}", first.stdout);
    let found = rows(&place);
    assert_eq!(found.len(), 4);
    assert!(
        found[1].contains("a: 1, word: \"c\"") && found[1].contains("square: 1, word_length: 1"),
        "{found:?}"
    );
    assert!(
        found[2].contains("a: 2, word: \"ab\"") && found[2].contains("square: 4, word_length: 2"),
        "{found:?}"
    );
    let items = names(place.path().join("out/items"));
    assert_eq!(items.len(), 4);
    let when = |id: &String| {
        std::fs::metadata(place.path().join("out/items").join(id).join("run.json"))
            .unwrap()
            .modified()
            .unwrap()
    };
    let before: Vec<_> = items.iter().map(when).collect();
    // A wider grid runs what is new.
    let wider = sweep(&place, &["--grid", "a=1,2,4", "--grid", "word=ab,c"]);
    assert!(
        wider.stdout.contains("6 of 6 combinations are done, 4 of them before; 2 ran"),
        "{}",
        wider.stdout
    );
    assert_eq!(rows(&place).len(), 6);
    assert_eq!(items.iter().map(when).collect::<Vec<_>>(), before);
    assert!(names(place.path().join("out/done")).contains("0-of-1.json"));
    // A changed script runs all anew; one that is changed back does not.
    place.write("s.rhai", format!("// changed\n{SCRIPT}").as_bytes());
    assert!(
        sweep(&place, &["--grid", "a=1,2"]).stdout.contains("2 of 2 combinations are done; 2 ran")
    );
    place.write("s.rhai", SCRIPT.as_bytes());
    assert!(
        sweep(&place, &["--grid", "a=1,2", "--grid", "word=ab"])
            .stdout
            .contains("2 of 2 combinations are done, 2 of them before; 0 ran")
    );
    let listed = sweep(&place, &["--grid", "a=1..4", "--grid", "word=ab", "--dry-run"]);
    assert_eq!(
        listed.stdout.lines().map(|line| line.split("  ").nth(1).unwrap()).collect::<Vec<_>>(),
        ["done", "done", "to run"]
    );
}

#[test]
fn failures_are_kept_apart_and_run_again_alone() {
    let place = place();
    let ran = sweep(&place, &["--grid", "a=2..5"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("2 of 3 combinations are done, 1 failed; 3 ran"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("three is too much") && ran.stderr.contains("1 combination failed"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    assert_eq!(rows(&place).len(), 2);
    assert_eq!(names(place.path().join("out/failed")).len(), 1);
    let again = sweep(&place, &["--grid", "a=2..5"]);
    assert!(again.code == Some(1) && again.stdout.contains("; 0 ran"), "{}", again.stdout);
    let retried = sweep(&place, &["--grid", "a=2..5", "--retry"]);
    assert!(retried.code == Some(1) && retried.stdout.contains("; 1 ran"), "{}", retried.stdout);
    let healed = SCRIPT.replace("a == 3", "a == 33");
    place.write("s.rhai", healed.as_bytes());
    assert!(
        sweep(&place, &["--grid", "a=2..5"]).stdout.contains("3 of 3 combinations are done; 3 ran")
    );
}

#[test]
fn rows_and_repetitions_are_combined() {
    let place = place();
    place.write("rows.jsonl", b"{\"a\": 5, \"word\": \"w\"}\n{\"a\": 6, \"word\": \"long\"}\n");
    let ran = sweep(&place, &["--rows", "rows.jsonl", "--repeat", "2", "--seed", "7"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let found = rows(&place);
    assert_eq!(found.len(), 4);
    let drawn = |row: &String| {
        row.split("drawn: ").nth(1).unwrap().split([',', '}']).next().unwrap().to_owned()
    };
    assert!(
        found[0].contains("repetition: 0, seed: 7") && found[1].contains("repetition: 1, seed: 8"),
        "{found:?}"
    );
    assert!(
        drawn(&found[0]) != drawn(&found[1]) && drawn(&found[0]) == drawn(&found[2]),
        "{found:?}"
    );
}

#[test]
fn parts_are_done_apart_and_joined() {
    let place = place();
    let grid = ["--grid", "a=10..20"];
    let part = |arguments: &[&str], environment: &[(&str, &str)]| -> Ran {
        let mut command =
            place.command(&[&["sweep", "s.rhai", "--out", "out"], &grid[..], arguments].concat());
        command.envs(environment.iter().copied()).output().unwrap().into()
    };
    let first = part(&["--shard", "0/3"], &[]);
    assert!(
        first.code == Some(0) && first.stdout.contains("4 of 4 combinations are done; 4 ran"),
        "{}{}",
        first.stdout,
        first.stderr
    );
    assert!(!place.path().join("out/sweep.parquet").exists());
    let early: Ran = place.command(&["sweep", "gather", "out"]).output().unwrap().into();
    assert_eq!(early.code, Some(1));
    assert!(early.stdout.contains("4 of 10 combinations are done, 6 left"), "{}", early.stdout);
    let slurm = [
        ("SLURM_ARRAY_TASK_ID", "2"),
        ("SLURM_ARRAY_TASK_COUNT", "3"),
        ("SLURM_ARRAY_TASK_MIN", "1"),
    ];
    assert!(part(&[], &slurm).stdout.contains("3 of 3 combinations are done; 3 ran"));
    assert!(
        part(&["--shards", "3"], &[("JOB_COMPLETION_INDEX", "2")])
            .stdout
            .contains("3 of 3 combinations are done; 3 ran")
    );
    assert_eq!(
        names(place.path().join("out/done")),
        ["0-of-3.json", "1-of-3.json", "2-of-3.json"].map(str::to_owned).into()
    );
    let joined: Ran = place.command(&["sweep", "gather", "out"]).output().unwrap().into();
    assert_eq!(joined.code, Some(0), "{}", joined.stderr);
    assert!(
        joined.stdout.contains("10 of 10 combinations are done")
            && joined.stdout.contains("10 rows in"),
        "{}",
        joined.stdout
    );
    assert_eq!(rows(&place).len(), 10);
    for (arguments, environment, sentence) in [
        (
            &[] as &[&str],
            &[("HQ_TASK_ID", "1")][..],
            "HQ_TASK_ID says which part of the sweep this is, and nothing says of how many",
        ),
        (&["--shards", "2"], &[], "nothing says which one this is"),
        (&["--shard", "2/2"], &[], "there is no part 2 of 2"),
        (&["--set", "a=1"], &[], "a is given by --set and by --grid"),
        (&["--grid", "b=1"], &[], "the script has no parameter b"),
        (&["--grid", "a=1"], &[], "--grid a=… is given twice"),
        (&["--rows", "none.jsonl"], &[], "none.jsonl can't be read"),
    ] {
        let ran = part(arguments, environment);
        assert_eq!(ran.code, Some(2), "{arguments:?}\n{}", ran.stderr);
        assert!(ran.stderr.contains(sentence), "{}", ran.stderr);
    }
}

#[cfg(unix)]
#[test]
fn a_sweep_that_is_ended_drops_what_is_under_way_and_goes_on() {
    let place = Workplace::new(&[(
        "s.rhai",
        "let a = param(\"a\", 0); if a == 1 { loop { rand(10, 10); } } record(#{a: a});",
    )]);
    let mut command: Command =
        place.command(&["sweep", "s.rhai", "--out", "out", "--grid", "a=0..3"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let wait_for = |path: &Path| {
        let began = Instant::now();
        while !path.exists() {
            assert!(began.elapsed() < Duration::from_secs(120), "{} did not come", path.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait_for(&place.path().join("out/plan.json"));
    let began = Instant::now();
    while names(place.path().join("out/logs")).len() < 2 {
        assert!(began.elapsed() < Duration::from_secs(120));
        std::thread::sleep(Duration::from_millis(20));
    }
    // SAFETY: `kill` takes two integers and reads no memory of this process.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0);
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert!(matches!(ran.code, Some(130 | 143)), "{:?} {}", ran.code, ran.stderr);
    assert!(
        names(place.path().join("out/failed")).is_empty()
            && names(place.path().join("out/done")).is_empty()
    );
    // The one that never ends is another now: the others are not run again.
    let again: Ran = place
        .command(&["sweep", "s.rhai", "--out", "out", "--grid", "a=0,2"])
        .output()
        .unwrap()
        .into();
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(
        again.stdout.contains("2 of 2 combinations are done, 1 of them before; 1 ran"),
        "{}",
        again.stdout
    );
}

#[cfg(unix)]
#[test]
fn what_was_ended_from_outside_may_be_tried_again() {
    let place = Workplace::new(&[(
        "s.rhai",
        "let a = param(\"a\", 0); if a == 1 { loop { rand(10, 10); } } record(#{a: a});",
    )]);
    let mut command: Command =
        place.command(&["sweep", "s.rhai", "--out", "out", "--grid", "a=0..3"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The process of the combination that never ends, by its parent and its arguments.
    let began = Instant::now();
    let endless = loop {
        let found = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
            .find(|id| {
                let status =
                    std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
                let arguments =
                    std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
                status.contains(&format!("PPid:\t{}\n", child.id())) && arguments.contains("a=1")
            });
        match found {
            Some(found) => break found,
            None => assert!(began.elapsed() < Duration::from_secs(120)),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    // SAFETY: as above.
    assert_eq!(unsafe { libc::kill(endless, libc::SIGKILL) }, 0);
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.code, Some(75), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("1 combination ended from outside"), "{}", ran.stderr);
    assert!(ran.stdout.contains("2 of 3 combinations are done, 1 failed; 3 ran"), "{}", ran.stdout);
}

#[test]
fn what_is_recorded_outside_of_a_sweep_is_a_file_of_the_run() {
    let place = Workplace::new(&[(
        "s.rhai",
        "record(#{b: 1, a: 2.5, t: tensor([1, 2])}); record(#{b: 2});",
    )]);
    let ran = place.run(&["run", "s.rhai", "--out", "out"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(
        std::fs::read_to_string(place.path().join("out/records.jsonl")).unwrap(),
        "{\"b\":1,\"a\":2.5,\"t\":[1,2]}\n{\"b\":2}\n"
    );
    for (script, sentence) in [
        ("record(3)", "record takes a map"),
        ("record(#{f: |x| x})", "record: f: a function is no data that can be saved"),
        (
            "record(#{a: 1}); save(\"records.jsonl\", [1]);",
            "the script has saved a file of that name",
        ),
    ] {
        place.write("t.rhai", script.as_bytes());
        let ran = place.run(&["run", "t.rhai"]);
        assert!(ran.code == Some(1) && ran.stderr.contains(sentence), "{}", ran.stderr);
    }
}
