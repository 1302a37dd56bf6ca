//! `run --watch`: the real binary with files changed under it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::binary::Workplace;
use crate::fixture::directory;

/// How long anything may take before the test fails: longer than any machine needs.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long nothing must happen where nothing should.
const QUIET: Duration = Duration::from_millis(1500);

/// The binary, watching `s.rhai`, with what it says line by line.
struct Watching {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Watching {
    fn start(here: &Workplace, more: &[&str]) -> Self {
        let mut arguments = vec!["run", "--watch", "s.rhai"];
        arguments.extend(more);
        // One pipe, so that lines come in the order in which they were written.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = here.command(&arguments);
        let child =
            command.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().expect("the binary");
        // It holds the writers.
        drop(command);
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for a line with `text` in it; what came before it.
    #[track_caller]
    fn until(&mut self, text: &str) -> Vec<String> {
        let (began, before) = (Instant::now(), self.seen.len());
        while began.elapsed() < PATIENCE {
            match self.lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => {
                    let found = line.contains(text);
                    self.seen.push(line);
                    if found {
                        return self.seen[before..].to_vec();
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        panic!("{text:?} never came:\n{}", self.seen.join("\n"));
    }

    /// Waits for the end of a run.
    #[track_caller]
    fn rest(&mut self) -> Vec<String> {
        self.until("waiting for ")
    }

    /// Nothing is said for a while.
    #[track_caller]
    fn quiet(&mut self) {
        if let Ok(line) = self.lines.recv_timeout(QUIET) {
            panic!("{line:?} came");
        }
    }

    fn interrupt(&self) {
        // SAFETY: a signal to a child that has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGINT) };
    }

    /// Presses Ctrl-C; the exit code.
    fn end(mut self) -> Option<i32> {
        self.interrupt();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn has(lines: &[String], text: &str) -> bool {
    lines.iter().any(|line| line.contains(text))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

#[test]
fn a_save_is_a_new_result_and_a_touch_is_none() {
    let here = Workplace::new(&[("s.rhai", "print(\"one\");")]);
    let mut watching = Watching::start(&here, &[]);
    let said = watching.rest();
    assert!(has(&said, "one") && has(&said, "reloaded in ") && has(&said, "ran in "), "{said:?}");
    here.write("s.rhai", b"print(\"one\");");
    here.write("beside.rhai", b"print(\"beside\");");
    watching.quiet();
    here.write("s.rhai", b"print(\"two\");");
    let said = watching.rest();
    assert!(has(&said, "s.rhai changed") && has(&said, "two"), "{said:?}");
    // As editors save: a new file is renamed over the old one.
    here.write(".s.rhai.new", b"print(\"three\");");
    std::fs::rename(here.path().join(".s.rhai.new"), here.path().join("s.rhai")).unwrap();
    assert!(has(&watching.rest(), "three"));
    assert_eq!(watching.end(), Some(130));
}

#[test]
fn what_a_script_imports_is_watched_as_it_is_at_each_reload() {
    let here = Workplace::new(&[
        ("s.rhai", "import \"lib/a\" as a; a::say()"),
        ("lib/a.rhai", "import \"b\" as b; fn say() { b::word() }"),
        ("lib/b.rhai", "fn word() { \"first\" }"),
    ]);
    let mut watching = Watching::start(&here, &[]);
    assert!(has(&watching.rest(), "first"));
    here.write("lib/b.rhai", b"fn word() { \"second\" }");
    let said = watching.rest();
    assert!(has(&said, "lib/b.rhai changed") && has(&said, "second"), "{said:?}");
    here.write("lib/a.rhai", b"import \"c\" as c; fn say() { c::word() }");
    assert!(has(&watching.rest(), "no c.rhai beside the script"));
    here.write("lib/c.rhai", b"fn word() { \"third\" }");
    assert!(has(&watching.rest(), "third"));
    // No longer imported.
    here.write("lib/b.rhai", b"fn word() { \"fourth\" }");
    watching.quiet();
    assert_eq!(watching.end(), Some(130));
}

#[test]
fn models_and_tokenizers_stay_in_memory() {
    let here = Workplace::new(&[]);
    let model = here.path().join("model");
    std::fs::create_dir(&model).unwrap();
    for entry in std::fs::read_dir(directory("llama")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, model.join(path.file_name().unwrap())).unwrap();
    }
    let script = |shown: &str| {
        format!(
            "let m = model(\"model\"); let ids = m.encode(\"a b\"); m.forward(ids); `{shown} ${{ids.shape}}`"
        )
    };
    here.write("s.rhai", script("first").as_bytes());
    let mut watching = Watching::start(&here, &[]);
    assert!(has(&watching.rest(), "first ["));
    std::fs::remove_dir_all(&model).unwrap();
    here.write("s.rhai", script("second").as_bytes());
    let said = watching.rest();
    assert!(has(&said, "second ["), "{said:?}");
    assert_eq!(watching.end(), Some(130));
}

#[test]
fn it_says_how_results_differ_from_the_run_before() {
    let script = |by: f64| {
        format!(
            "save(\"t\", tensor([1.0, 2.0, 3.0]) * {by:?});\n\
             save(\"same\", tensor([1.0]));\n\
             save(\"rows\", [#{{layer: 0, loss: 1.5}}, #{{layer: 1, loss: {by:?}}}]);\n\
             save(\"rows.parquet\", [#{{layer: 0, loss: 1.5}}, #{{layer: 1, loss: {by:?}}}]);\n\
             save(\"value\", #{{x: [{by:?}]}});\n\
             table([[\"a\", {by:?}], [\"b\", 2.0]]);"
        )
    };
    let here = Workplace::new(&[("s.rhai", &script(1.0))]);
    let mut watching = Watching::start(&here, &["--out", "out"]);
    let said = watching.rest();
    assert!(has(&said, "wrote out: t.safetensors, same.safetensors, rows.csv"), "{said:?}");
    assert!(!has(&said, "change "), "{said:?}");
    here.write("s.rhai", script(1.5).as_bytes());
    let said = watching.rest();
    for line in [
        "t.safetensors: maximum change 1.5, in 3 of 3 elements",
        "rows.csv: 1 of 4 cells changed: loss in row 1 from 1.0 to 1.5",
        "rows.parquet: 1 of 4 cells changed: loss in row 1 from 1.0 to 1.5",
        "value.json: 1 of 1 values changed: x[0] from 1 to 1.5",
        "the table: 1 of 4 cells changed: 1 in row 0 from 1 to 1.5",
    ] {
        assert!(has(&said, line), "{line}\n{}", said.join("\n"));
    }
    assert!(!has(&said, "same.safetensors:"), "{said:?}");
    here.write("s.rhai", format!("// A word more.\n{}", script(1.5)).as_bytes());
    assert!(has(&watching.rest(), "the results are those of the run before"));
    here.write("s.rhai", b"save(\"other\", 1);");
    let said = watching.rest();
    assert!(has(&said, "other.json is new") && has(&said, "t.safetensors is gone"), "{said:?}");
    assert!(!here.path().join("out/t.safetensors").exists());
    assert_eq!(watching.end(), Some(130));
}

#[test]
fn a_script_that_does_not_compile_or_fails_leaves_the_last_good_results() {
    let here = Workplace::new(&[("s.rhai", "save(\"x\", 1);")]);
    let mut watching = Watching::start(&here, &["--out", "out"]);
    watching.rest();
    let file = here.path().join("out/x.json");
    assert_eq!(read(&file), "1\n");
    let record = read(&here.path().join("out/run.json"));

    here.write("s.rhai", b"save(\"x\", 2;");
    let said = watching.rest();
    assert!(
        has(&said, "error: ") && has(&said, "s.rhai:1:") && has(&said, "the last good run stand"),
        "{said:?}"
    );
    here.write("s.rhai", b"save(\"x\", 3); save(\"y\", 3); throw \"no\"");
    let said = watching.rest();
    assert!(has(&said, "error: no"), "{said:?}");
    std::fs::remove_file(here.path().join("s.rhai")).unwrap();
    assert!(has(&watching.rest(), "there is no file s.rhai"));
    assert_eq!(read(&file), "1\n");
    assert_eq!(read(&here.path().join("out/run.json")), record);
    let names = |path: &Path| {
        std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>()
    };
    assert_eq!(names(&here.path().join("out")).len(), 3, "a failed run left a file");

    here.write("s.rhai", b"save(\"x\", 4);");
    let said = watching.rest();
    assert!(has(&said, "x.json: 1 of 1 values changed: from 1 to 4"), "{said:?}");
    assert_eq!(watching.end(), Some(130));
    let left: Vec<_> = names(here.path())
        .into_iter()
        .filter(|n| n.to_string_lossy().starts_with(".pre"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_script_that_is_broken_at_first_is_waited_for() {
    let here = Workplace::new(&[("s.rhai", "let x = ;")]);
    let mut watching = Watching::start(&here, &[]);
    assert!(has(&watching.rest(), "error: "));
    here.write("s.rhai", b"let x = 7; x");
    assert!(has(&watching.rest(), "7"));
    assert_eq!(watching.end(), Some(130));
}

const ENDLESS: &str = "let m = model(\"demo:opt\"); let ids = m.encode(\"Mary\"); m.forward(ids); print(\"started\"); \
                       while true { m.forward(ids, #{logits: \"none\"}); }";

#[test]
fn a_change_during_a_run_stops_it_and_starts_afresh() {
    let here = Workplace::new(&[("s.rhai", ENDLESS)]);
    let mut watching = Watching::start(&here, &[]);
    watching.until("started");
    here.write("s.rhai", b"\"afresh\"");
    let said = watching.rest();
    assert!(has(&said, "s.rhai changed during the run") && has(&said, "afresh"), "{said:?}");
    assert_eq!(watching.end(), Some(130));
}

#[test]
fn with_finish_a_run_comes_to_its_end_first() {
    let slow = "let m = model(\"demo:opt\"); let ids = m.encode(\"Mary\"); print(\"started\"); \
                for i in 0..100 { m.forward(ids); } \"the end\"";
    let here = Workplace::new(&[("s.rhai", slow)]);
    let mut watching = Watching::start(&here, &["--finish"]);
    watching.until("started");
    here.write("s.rhai", b"\"afresh\"");
    let said = watching.rest();
    assert!(has(&said, "the end") && !has(&said, "during the run"), "{said:?}");
    assert!(has(&watching.rest(), "afresh"));
    assert_eq!(watching.end(), Some(130));
}

#[test]
fn ctrl_c_ends_a_run_too() {
    let here = Workplace::new(&[("s.rhai", ENDLESS)]);
    let mut watching = Watching::start(&here, &[]);
    watching.until("started");
    assert_eq!(watching.end(), Some(130));
}

#[test]
fn random_numbers_are_the_same_in_every_run() {
    let here = Workplace::new(&[("s.rhai", "save(\"r\", rand(4));")]);
    let mut watching = Watching::start(&here, &["--out", "out"]);
    watching.rest();
    here.write("s.rhai", b"save(\"r\", rand(4)); // again");
    assert!(has(&watching.rest(), "the results are those of the run before"));
    assert_eq!(watching.end(), Some(130));
}

#[test]
fn a_wrong_command_line_is_not_waited_for() {
    let here = Workplace::new(&[("s.rhai", "1")]);
    for (arguments, said) in [
        (&["run", "--watch", "nope.rhai"] as &[&str], "error: there is no file nope.rhai"),
        (&["run", "--finish", "s.rhai"], "--watch"),
        (&["run", "--watch", "s.rhai", "--device", "tpu"], "error: --device"),
    ] {
        let ran = here.run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?} {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{arguments:?} {}", ran.stderr);
    }
}

#[test]
fn it_says_what_was_reused_unless_all_is_to_be_fresh() {
    let script = |by: f64| {
        format!(
            "let m = model(\"demo:opt\"); let ids = m.encode(\"Mary\"); \
             m.forward(ids, context([hook(\"post-mlp\", |x, ctx| x * {by:?}, #{{layers: -1}})])).logits.sum()"
        )
    };
    for (arguments, reused) in [(&[] as &[&str], true), (&["--fresh"], false)] {
        let here = Workplace::new(&[("s.rhai", &script(0.5))]);
        let mut watching = Watching::start(&here, arguments);
        let said = watching.rest();
        assert!(
            has(&said, "0 of ") && has(&said, " layers in 1 pass were not run again"),
            "{said:?}"
        );
        here.write("s.rhai", script(0.75).as_bytes());
        let said = watching.rest();
        assert_eq!(
            !has(&said, " 0 of ") && !said.iter().any(|line| line.starts_with("0 of ")),
            reused,
            "{said:?}"
        );
        assert_eq!(watching.end(), Some(130));
    }
}
