//! Runs that end before their time, run side by side, or save where and what they should not: what
//! stands in the output directory afterwards is one run's, whole, and nothing else.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::binary::{Ran, Workplace};

/// After this a test fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// Saves, says so, and goes on without end.
const ENDLESS: &str = "save(\"x\", 1); print(\"saved\"); let i = 0; while true { i += 1; }";

/// Everything below a directory, hidden names too; but for the run's page, which `pages` is about.
fn tree(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().unwrap().is_dir() {
            found.extend(tree(&entry.path()).into_iter().map(|below| format!("{name}/{below}")));
            found.push(format!("{name}/"));
        } else if name != "report.html" {
            found.push(name);
        }
    }
    found.sort();
    found
}

/// The names in a directory that a run has not finished.
fn unfinished(root: &Path) -> Vec<String> {
    tree(root).into_iter().filter(|name| name.contains(".precompute")).collect()
}

/// A run of `s.rhai` that has said `saved`, and goes on.
struct Running {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        // Under nohup the tests would hand it a SIGHUP that is ignored.
        // SAFETY: between fork and exec only what is safe in a signal handler may be called, which
        // signal is.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGHUP, libc::SIG_DFL);
                Ok(())
            });
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut running = Self { child, said };
        let mut line = String::new();
        running.said.read_line(&mut line).unwrap();
        assert_eq!(line, "saved\n");
        running
    }

    fn signal(&self, signal: i32) {
        // SAFETY: a signal to a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// What it ended with, and said on standard error.
    fn end(&mut self) -> (Option<i32>, String) {
        let began = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if began.elapsed() > PATIENCE => panic!("it does not end"),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status.code(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn place(script: &str) -> Workplace {
    Workplace::new(&[("s.rhai", script), ("other.rhai", "save(\"y\", 2);")])
}

/// Until `what` holds.
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_watched_run_that_a_signal_ends_leaves_nothing_unfinished() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let here = place(ENDLESS);
        let mut run = Running::start(here.command(&["run", "--watch", "s.rhai", "--out", "out"]));
        assert_eq!(unfinished(here.path()).len(), 2, "{:?}", tree(here.path()));
        run.signal(signal);
        assert_eq!(run.end().0, Some(130), "signal {signal}");
        assert_eq!(unfinished(here.path()), [""; 0], "signal {signal}");
    }
}

#[test]
fn what_a_killed_run_left_is_gone_with_the_next() {
    for arguments in [
        &["run", "--watch", "s.rhai", "--out", "out"] as &[&str],
        &["run", "s.rhai", "--out", "out"],
    ] {
        let here = place(ENDLESS);
        let mut run = Running::start(here.command(arguments));
        run.signal(libc::SIGKILL);
        assert_eq!(run.end().0, None);
        // As a process leaves them that was killed while it wrote.
        here.write("out/.precompute-1-1", b"half");
        here.write("out/.precompute-1-2/deep/x.json", b"1");
        let ran = here.run(&["run", "other.rhai", "--out", "out"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(unfinished(here.path()), [""; 0]);
        assert!(here.path().join("out/y.json").exists());
    }
}

#[test]
fn a_limit_ends_a_watched_run_and_the_watcher_goes_on() {
    let cases = [
        (
            "--timeout",
            "1s",
            "save(\"x\", 1); print(\"saved\"); while true {}",
            "has taken longer than 1s",
        ),
        // An operation that nothing less than the end of its process stops.
        (
            "--timeout",
            "1s",
            "save(\"x\", 1); print(\"saved\"); let a = rand([4000, 4000]); loop { a = svd(a).u; }",
            "has taken longer than 1s",
        ),
        (
            "--max-memory",
            "40MiB",
            "save(\"x\", 1); print(\"saved\"); svd(ones([2000, 2000])); print(\"done\")",
            "needs more than 40.0 MiB",
        ),
        (
            "--max-memory",
            "4GiB",
            "save(\"x\", 1); print(\"saved\"); let f = || 0; for i in 0..2_000_000 { let g = f; f = || g; }",
            "nests values too deeply",
        ),
        ("--max-steps", "1000", ENDLESS, "more than 1000 steps"),
        (
            "--max-output",
            "1KiB",
            "save(\"x\", 1); print(\"saved\"); loop { print(\"more\"); }",
            "prints and saves more",
        ),
        (
            "--max-files",
            "3",
            "print(\"saved\"); for i in 0..9 { save(`d${i}/x`, 1); }",
            "more than 3 files",
        ),
    ];
    for (option, limit, script, said) in cases {
        let here = place(script);
        let mut command =
            here.command(&["run", "--watch", "s.rhai", "--out", "out", option, limit]);
        let err = here.path().join("stderr");
        command.stderr(fs::File::create(&err).unwrap());
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let heard = || fs::read_to_string(&err).unwrap();
        wait_until(said, || heard().contains("waiting for s.rhai to change"));
        assert!(heard().contains(said), "{script}\n{}", heard());
        assert_eq!(unfinished(here.path()), [""; 0], "{script}");
        here.write("s.rhai", b"save(\"z\", 3);");
        wait_until("the next run's result", || here.path().join("out/run.json").exists());
        assert_eq!(tree(&here.path().join("out")), ["run.json", "z.json"], "{script}");
        // SAFETY: a signal to a child that has not been waited for.
        unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
        assert_eq!(child.wait().unwrap().code(), Some(130), "{script}\n{}", heard());
        assert_eq!(unfinished(here.path()), [""; 0], "{script}");
    }
}

#[test]
fn two_runs_do_not_write_into_one_directory() {
    let here = place(ENDLESS);
    let first = Running::start(here.command(&["run", "s.rhai", "--out", "out"]));
    std::os::unix::fs::symlink("out", here.path().join("link")).unwrap();
    fs::create_dir(here.path().join("sub")).unwrap();
    let absolute = here.path().join("out").display().to_string();
    for out in ["out", "./out/", "sub/../out", "link", &absolute] {
        for arguments in [&["run"] as &[&str], &["run", "--watch"]] {
            let ran = here.run(&[arguments, &["other.rhai", "--out", out]].concat());
            assert_eq!(ran.code, Some(2), "{out} {}", ran.stderr);
            let who = format!(
                "another run writes into {}: process {}, since ",
                Path::new(out).display(),
                first.child.id()
            );
            assert!(ran.stderr.contains(&who), "{who}\n{}", ran.stderr);
        }
    }
    assert_eq!(tree(&here.path().join("out")), ["x.json"]);
    // Whoever holds it may go in any way.
    drop(first);
    let ran = here.run(&["run", "other.rhai", "--out", "out"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(tree(&here.path().join("out")), ["run.json", "x.json", "y.json"]);
}

#[test]
fn a_watcher_holds_its_directory_between_runs_too() {
    let here = place("save(\"x\", 1); print(\"saved\");");
    let watcher = Running::start(here.command(&["run", "--watch", "s.rhai", "--out", "out"]));
    wait_until("the first result", || here.path().join("out/run.json").exists());
    let ran = here.run(&["run", "other.rhai", "--out", "out"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("process {}", watcher.child.id())), "{}", ran.stderr);
    assert!(
        here.run(&["rerun", "out", "--out", "out"]).stderr.contains("another run writes into out")
    );
}

#[test]
fn runs_of_one_second_have_directories_of_their_own() {
    let here = place("save(\"x\", param(\"n\", 0)); print(\"saved\");");
    let children: Vec<Child> = (0..6)
        .map(|n| {
            let set = format!("n={n}");
            here.command(&["run", "s.rhai", "--set", &set])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    let runs: Vec<_> = fs::read_dir(here.path().join("runs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(runs.len(), 6);
    for run in runs {
        let record: serde_json::Value =
            serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap();
        let saved = fs::read_to_string(run.join("x.json")).unwrap();
        assert_eq!(record["parameters"]["n"].to_string(), saved.trim());
    }
}

#[test]
fn no_record_speaks_of_files_that_are_others() {
    let here = place(ENDLESS);
    assert_eq!(here.run(&["run", "other.rhai", "--out", "out"]).code, Some(0));
    assert!(here.path().join("out/run.json").exists());
    let mut run = Running::start(here.command(&["run", "s.rhai", "--out", "out"]));
    run.signal(libc::SIGKILL);
    run.end();
    assert_eq!(tree(&here.path().join("out")), ["x.json", "y.json"]);
    // One that fails before it saves anything says so itself.
    here.write("s.rhai", b"throw \"no\"");
    assert_eq!(here.run(&["run", "s.rhai", "--out", "out"]).code, Some(1));
    assert!(
        fs::read_to_string(here.path().join("out/run.json"))
            .unwrap()
            .contains("\"outcome\": \"no\"")
    );
}

#[test]
fn the_programs_own_names_are_not_the_scripts() {
    const OWN: &str = "run.json is the run's own record";
    for (name, said) in [
        ("run.json/x", OWN),
        ("RUN.JSON/x", OWN),
        ("Run.Json/deep/x.npy", OWN),
        ("run.j\u{17f}on/x", OWN),
        ("run", OWN),
        ("run~1.jso/x", OWN),
        ("report.html/x", "report.html is the run's own page"),
        ("REPORT~1.HTM/x", "report.html is the run's own page"),
        (".precompute-1-0", "what precompute calls its own"),
        (".PRECOMPUTE-1-0/x", "what precompute calls its own"),
    ] {
        let here = place(&format!(
            "try {{ save({name:?}, 1); }} catch (e) {{ print(e); }} save(\"x\", 1);"
        ));
        let ran = here.run(&["run", "s.rhai", "--out", "out"]);
        assert_eq!(ran.code, Some(0), "{name} {}", ran.stderr);
        assert!(ran.stdout.contains(said), "{name} {}", ran.stdout);
        assert_eq!(tree(&here.path().join("out")), ["run.json", "x.json"], "{name}");
    }
}

#[test]
fn folders_count_as_files() {
    for (script, most, left) in [
        ("save(\"a/b/c/d/x\", 1)", "4", 0),
        ("save(\"a/b/c/d/x\", 1); save(\"a/b/c/d/x\", 2); save(\"x\", 1)", "5", 5),
        ("for i in 0..100 { save(`d${i}/x`, i); }", "20", 20),
        ("for i in 0..100 { save(`f${i}`, i); }", "20", 20),
        ("for i in 0..100 { plot(#{y: [1, 2], name: `d${i}/p`}); }", "7", 6),
    ] {
        let here = place(script);
        let ran = here.run(&["run", "s.rhai", "--out", "out", "--max-files", most]);
        assert_eq!(ran.code, Some(1), "{script} {}", ran.stderr);
        assert!(
            ran.stderr.contains(&format!("the run saves more than {most} files")),
            "{script} {}",
            ran.stderr
        );
        let entries = tree(&here.path().join("out"));
        assert_eq!(entries.len(), left + 1, "{script} {entries:?}");
    }
}

/// Runs the binary from a shell that has set something first.
fn after(here: &Workplace, first: &str, arguments: &str) -> Ran {
    let binary = env!("CARGO_BIN_EXE_precompute");
    let mut command = Command::new("sh");
    command
        .current_dir(here.path())
        .env("HF_HUB_OFFLINE", "1")
        .env("PRECOMPUTE_HOME", here.path().join("home"));
    command.args(["-c", &format!("{first}; exec {binary} {arguments}")]).output().unwrap().into()
}

#[test]
fn what_the_system_refuses_is_a_sentence() {
    let many = "save(\"x\", zeros([100000]));";
    for (first, script, arguments, code, said) in [
        (
            "ulimit -f 8",
            many,
            "--out out",
            1,
            "x.safetensors does not fit into out: File too large",
        ),
        (
            "ulimit -f 8",
            "save(\"x.csv\", zeros([100000]));",
            "--out out",
            1,
            "x.csv does not fit into out: File too large",
        ),
        (
            "ulimit -f 8",
            "save(\"x.parquet\", rand([100000]));",
            "--out out",
            1,
            "x.parquet does not fit into out: File too large",
        ),
        ("ulimit -f 0", "1", "--out out", 1, "run.json does not fit into out: File too large"),
        ("true", "1", "--out /dev/full", 2, "something that is no directory stands there"),
        ("true", "1", "--out s.rhai", 2, "something that is no directory stands there"),
        (
            "true",
            "print(1)",
            ">/dev/full",
            1,
            "standard output can't be written to: the disk is full",
        ),
    ] {
        let here = place(script);
        let ran = after(&here, first, &format!("run s.rhai {arguments}"));
        assert!(ran.stderr.contains(said), "{first} {script}\n{}", ran.stderr);
        assert!(!ran.stderr.contains("os error"), "{}", ran.stderr);
        assert_eq!(ran.code, Some(code), "{first} {script}\n{}", ran.stderr);
        assert_eq!(unfinished(here.path()), [""; 0], "{first} {script}");
    }
}

#[test]
fn too_many_open_files_are_a_sentence_wherever_it_happens() {
    let mut refused = 0;
    for most in 4..16 {
        let here = place("save(\"a/b/x\", 1); save(\"y\", 2);");
        let ran = after(&here, &format!("ulimit -n {most}"), "run s.rhai --out out");
        let said = ran
            .stderr
            .contains("this process has as many files open as it may (`ulimit -n` allows more)");
        assert_eq!(ran.code != Some(0), said, "{most} {}", ran.stderr);
        refused += usize::from(said);
        assert_eq!(unfinished(here.path()), [""; 0], "{most}");
    }
    assert!(refused > 0);
}

#[test]
fn a_full_or_read_only_disk_is_a_sentence() {
    let here = place("save(\"x\", rand([100000]));");
    let disk = here.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = |arguments: &[&str]| Command::new("mount").args(arguments).arg(&disk).output();
    if !mount(&["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).is_ok_and(|done| done.status.success()) {
        return; // Only who may mount can see this.
    }
    let full = here.run(&["run", "s.rhai", "--out", "disk/out"]);
    let left = tree(&disk);
    let _ = mount(&["-o", "remount,ro"]);
    let again = here.run(&["run", "s.rhai", "--out", "disk/out"]);
    let new = here.run(&["run", "s.rhai", "--out", "disk/new"]);
    let _ = Command::new("umount").arg(&disk).status();
    assert!(
        full.stderr.contains("x.safetensors does not fit into disk/out: the disk is full"),
        "{}",
        full.stderr
    );
    assert_eq!((full.code, left), (Some(1), vec!["out/".to_owned(), "out/run.json".to_owned()]));
    assert!(
        again.stderr.contains("disk/out can't be written to: the file system is read-only"),
        "{}",
        again.stderr
    );
    assert!(
        new.stderr.contains("disk/new can't be made: the file system is read-only"),
        "{}",
        new.stderr
    );
    assert_eq!((again.code, new.code), (Some(2), Some(2)));
}

#[test]
fn an_output_directory_that_is_deleted_meanwhile_is_a_sentence() {
    let script = "save(\"a/x\", 1); print(\"saved\"); loop { try { load_tensors(\"go.npy\"); break; } catch {} } save(NAME, 2);";
    for name in ["\"y\"", "\"a/y\"", "\"b/c/y\""] {
        let here = place(&script.replace("NAME", name));
        let mut run = Running::start(here.command(&["run", "s.rhai", "--out", "out"]));
        fs::remove_dir_all(here.path().join("out")).unwrap();
        here.write("go.npy", &super::forged_npy());
        let (code, said) = run.end();
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("the output directory out was deleted while the run went on"),
            "{said}"
        );
        assert!(!here.path().join("out").exists());
    }
}

#[test]
fn a_watched_run_whose_directory_was_deleted_makes_it_anew() {
    let here = place("save(\"x\", 1); print(\"saved\");");
    let _watcher = Running::start(here.command(&["run", "--watch", "s.rhai", "--out", "out"]));
    let done = || here.path().join("out/run.json").exists();
    wait_until("the first result", done);
    fs::remove_dir_all(here.path().join("out")).unwrap();
    here.write("s.rhai", b"save(\"x\", 2);");
    wait_until("the second result", done);
    assert_eq!(tree(&here.path().join("out")), ["run.json", "x.json"]);
}

#[test]
fn a_text_that_a_spreadsheet_would_run_is_a_text_in_a_csv() {
    let here = place(
        "let rows = []; for text in [\"=1+1\", \"+cmd|' /C calc'!A0\", \"-2+3\", \"@SUM(A1)\", \"\\t=1\", \"\\r=1\", \"'=1\", \"''+1\", \"\\n=1\", \"\u{ff1d}1\", \
         \"a=1\", \"-1.5\", \"+2\", \"it's\", \"'quoted'\", \" =1\", \"\"] { rows.push(#{\"=key\": text, n: -1, x: -0.5, inf: -1.0 / 0.0}); } save(\"t\", rows); \
         save(\"col.csv\", #{\"@a\": tensor([-1.0, 2.0])});",
    );
    let ran = here.run(&["run", "s.rhai", "--out", "out"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let mut reader = csv::Reader::from_path(here.path().join("out/t.csv")).unwrap();
    assert_eq!(reader.headers().unwrap(), vec!["'=key", "n", "x", "inf"]);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let texts: Vec<&str> = rows.iter().map(|row| &row[0]).collect();
    let as_written = [
        "'=1+1",
        "'+cmd|' /C calc'!A0",
        "'-2+3",
        "'@SUM(A1)",
        "'\t=1",
        "'\r=1",
        "''=1",
        "'''+1",
        "'\n=1",
        "'\u{ff1d}1",
        "a=1",
        "-1.5",
        "+2",
        "it's",
        "'quoted'",
        " =1",
        "",
    ];
    assert_eq!(texts, as_written);
    assert!(rows.iter().all(|row| row[1] == *"-1" && row[2] == *"-0.5" && row[3] == *"-Infinity"));
    assert_eq!(fs::read_to_string(here.path().join("out/col.csv")).unwrap(), "'@a\n-1.0\n2.0\n");
}

#[test]
fn what_a_value_is_called_is_no_type_of_rust() {
    for script in [
        "zeros(1..3)",
        "tensor(1..=3)",
        "tensor(range(1, 5, 2))",
        "tensor(timestamp())",
        "tensor(blob(3))",
        "save(\"x\", 1..3)",
        "save(\"x\", timestamp())",
        "ones([2]).sum(1..3)",
        "ones([2]).reshape(1..3)",
        "heatmap(1..3)",
        "plot(#{y: 1..3})",
        "table(1..3)",
        "model(1..3)",
        "hook(1..3, |x, c| x)",
        "model(\"demo:opt\").encode(1..3)",
        "model(\"demo:opt\").decode(1..3)",
        "param(\"p\", 1..3)",
        "let x = 1..3; x[0]",
        "load_tensors(1..3)",
        "(1..3).foo()",
        "(1..3) + ones([2])",
        "timestamp() + ones([2])",
        "bits(5) + \"a\"",
        "import 1..3 as x;",
        "if 1..3 {}",
        "for i in ones([2]).shape[0] {}",
    ] {
        let ran = place(script).run(&["run", "s.rhai", "--set", "p=1"]);
        assert!(matches!(ran.code, Some(1 | 2)), "{script} {}", ran.stdout);
        let error = ran.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
        for word in [
            "&str",
            "i64",
            "u64",
            "f64",
            "::",
            "Range<",
            "range<",
            "range=",
            "Dynamic",
            "FnPtr",
            "ImmutableString",
            "Option",
            "instant",
        ] {
            assert!(!error.contains(word), "{script}: {error}");
        }
    }
    let here = Workplace::new(&[]);
    for (name, text, command) in [
        ("run.json", "{\"script\": 1}", "rerun run.json"),
        ("run.json", "[1]", "rerun run.json"),
        ("precompute.lock", "layout = \"one\"", "recipe verify"),
        ("precompute.lock", "layout = 1\nrecipe = [1]", "recipe verify"),
        ("r.rhai", "//! summary = 1\nlet x = 1;", "recipe show ./r.rhai"),
        ("r.rhai", "//! summary = \"a\"\n//! models = 5\nlet x = 1;", "recipe show ./r.rhai"),
    ] {
        here.write(name, text.as_bytes());
        let ran = here.run(&command.split(' ').collect::<Vec<_>>());
        assert_ne!(ran.code, Some(0), "{text}");
        for word in ["struct", "u32", "u64", "f64", "Vec<", "::"] {
            assert!(!ran.stderr.contains(word), "{text}: {}", ran.stderr);
        }
    }
}

#[test]
fn an_index_of_many_shards_takes_no_square_of_them() {
    let here = place("model(\"m\")");
    let names: Vec<String> =
        (0..50_000).map(|n| format!("\"w{n}\": \"model-{n:05}-of-50000.safetensors\"")).collect();
    here.write(
        "m/model.safetensors.index.json",
        format!("{{\"weight_map\": {{{}}}}}", names.join(", ")).as_bytes(),
    );
    fs::copy(
        crate::fixture::directory("gpt2").join("config.json"),
        here.path().join("m/config.json"),
    )
    .unwrap();
    let ran = here.run(&["run", "s.rhai"]);
    assert!(
        ran.stderr.contains("the shard model-00000-of-50000.safetensors is missing"),
        "{}",
        ran.stderr
    );
}
