//! Work that was under no limit: compiling, reading inputs line by line, and functions of the
//! language's own that took what their function did wrong for an answer.

use std::fmt::Write;
use std::process::Stdio;
use std::time::Duration;

use super::forge::ended;
use crate::binary::{Workplace, script};

/// Lines that each declare a variable: the compiler looks for every name among all before it.
fn declarations(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, i| {
        writeln!(text, "let a{i} = {i};").unwrap();
        text
    })
}

#[test]
fn compiling_takes_no_longer_than_the_run_may() {
    let long = declarations(400_000);
    let here = Workplace::new(&[
        ("s.rhai", &long),
        ("t.rhai", "import \"s\" as s; 1"),
        ("u.rhai", "let n = \"s\"; import n as s;"),
    ]);
    for command in [
        &["run", "s.rhai", "--timeout", "1s"][..],
        &["run", "t.rhai", "--timeout", "1s"],
        &["run", "u.rhai", "--timeout", "1s"],
        &["run", "s.rhai", "--timeout", "1s", "--help-params"],
        &["generate", "--prompt", "a", "--hooks", "s.rhai", "--timeout", "1s"],
        &["repl", "s.rhai", "--timeout", "1s"],
    ] {
        let ran = ended(here.command(command), "");
        assert!(
            ran.code.is_some_and(|code| code > 0),
            "{command:?}: {:?} {}",
            ran.code,
            ran.stderr
        );
        assert!(
            ran.stderr.contains("the run has taken longer than 1s"),
            "{command:?}: {}",
            ran.stderr
        );
        assert!(!ran.stderr.contains("this is a bug"), "{command:?}: {}", ran.stderr);
    }
}

#[test]
fn compiling_takes_no_more_memory_than_the_run_may() {
    let large = format!("let a = [{}];", "[1, 2], ".repeat(1 << 20));
    let here = Workplace::new(&[("s.rhai", &large)]);
    for command in [
        &["run", "s.rhai", "--max-memory", "50MB"][..],
        &["repl", "s.rhai", "--max-memory", "50MB"],
    ] {
        let ran = ended(here.command(command), "");
        assert_eq!(ran.code, Some(1), "{command:?}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("the run needs more than 47.7 MiB of memory"),
            "{command:?}: {}",
            ran.stderr
        );
    }
}

#[test]
fn ctrl_c_ends_compiling() {
    let here = Workplace::new(&[("s.rhai", &declarations(500_000))]);
    let mut child = here
        .command(&["run", "s.rhai"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    // SAFETY: signals a child that has not been waited for, so its id is still its own.
    assert_eq!(unsafe { libc::kill(child.id().try_into().unwrap(), libc::SIGINT) }, 0);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// Each ends within the time that any command has here; the square of the length would take far
/// longer.
#[test]
fn an_input_that_is_read_line_by_line_costs_its_length() {
    let here = Workplace::new(&[]);
    let list = format!("let a = [\n{}];\na.len()\n", "1,\n".repeat(60_000));
    let text = format!("let a = `\n{}`;\na.len()\n", "a $ {\n".repeat(60_000));
    let comment = format!("/*\n{}*/ 1 + 1\n", "/* */ (\n".repeat(60_000));
    let many = format!("{}a2999 + 1\n", declarations(3_000));
    for (what, typed, shown) in [
        ("an array", list, "60000"),
        ("a text", text, "360000"),
        ("a comment", comment, "2"),
        ("many inputs", many, "3000"),
    ] {
        let ran = ended(here.command(&["repl"]), &typed);
        assert_eq!(
            (ran.code, ran.stdout.trim()),
            (Some(0), shown),
            "{what}: {}",
            ran.stderr.chars().take(500).collect::<String>()
        );
    }
}

#[test]
fn an_input_has_an_end() {
    let here = Workplace::new(&[]);
    for (what, typed) in [
        ("one line", "1 + ".repeat(5 << 20)),
        ("one bracket", format!("[\n{}", "1,\n".repeat(6 << 20))),
    ] {
        let ran = ended(here.command(&["repl"]), &typed);
        assert_eq!(ran.code, Some(1), "{what}: {}", ran.stderr);
        assert!(ran.stderr.contains("an input has more than 16 MiB"), "{what}: {}", ran.stderr);
    }
    let ran = ended(here.command(&["generate", "--prompt", "-"]), &"a ".repeat(9 << 20));
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("standard input has more than 16 MiB"), "{}", ran.stderr);
    // Nested without end: no stack is used for it.
    for open in ["`${", "[", "/*", "(`${"] {
        let ran = ended(here.command(&["repl"]), &format!("{}\n", open.repeat(1 << 18)));
        assert!(ran.code.is_some(), "{open}: {}", ran.stderr.chars().take(300).collect::<String>());
        assert!(
            !ran.stderr.contains("nests values too deeply"),
            "{open}: {}",
            ran.stderr.chars().take(300).collect::<String>()
        );
    }
}

#[test]
fn what_a_function_does_wrong_is_not_taken_for_an_answer() {
    const DOES: [(&str, &str, &[&str]); 5] = [
        ("throw \"wrong\"", "wrong", &[]),
        ("nope()", "there is no function nope", &[]),
        ("loop {}", "the run has taken longer than 100ms", &["--timeout", "100ms"]),
        ("loop {}", "the script takes more than 10000 steps", &["--max-steps", "10000"]),
        (
            "let held = []; loop { held.push(zeros([100000])); }",
            "the run needs more than",
            &["--max-memory", "20MB"],
        ),
    ];
    for (call, before) in [
        ("[1, 1, 2].dedup(|a, b| {BODY})", ""),
        ("[1, 1, 2].map(|a| {BODY})", ""),
        ("[1, 1, 2].filter(|a| {BODY})", ""),
        ("[1, 1, 2].for_each(|| {BODY})", ""),
        ("[1, 1, 2].find(|a| {BODY})", ""),
        ("[1, 1, 2].find_map(|a| {BODY})", ""),
        ("[1, 1, 2].index_of(|a| {BODY})", ""),
        ("[1, 1, 2].some(|a| {BODY})", ""),
        ("[1, 1, 2].all(|a| {BODY})", ""),
        ("[1, 1, 2].reduce(|r, a| {BODY})", ""),
        ("[1, 1, 2].reduce_rev(|r, a| {BODY})", ""),
        ("[1, 1, 2].zip([1, 2, 3], |a, b| {BODY})", ""),
        ("[1, 1, 2].drain(|a| {BODY})", ""),
        ("[1, 1, 2].retain(|a| {BODY})", ""),
        ("[1, 1, 2].sort(|a, b| {BODY})", ""),
        ("[1, 1, 2].order(|a, b| {BODY})", ""),
        ("#{a: 1, b: 2}.map(|k, v| {BODY})", ""),
        ("#{a: 1, b: 2}.filter(|k, v| {BODY})", ""),
        ("#{a: 1, b: 2}.drain(|k, v| {BODY})", ""),
        ("#{a: 1, b: 2}.retain(|k, v| {BODY})", ""),
        (
            "m.forward(m.encode(\"a\"), context([hook(\"pre-block\", |x, c| { {BODY}; x * 2.0 })]))",
            "let m = model(\"demo:opt\");",
        ),
    ] {
        for (does, said, arguments) in DOES {
            let text = format!(
                "{before} let r = {}; print(\"swallowed\")",
                call.replace("{BODY}", &format!("{{ {does} }}"))
            );
            let here = Workplace::new(&[("s.rhai", &text)]);
            let mut all = vec!["run", "s.rhai"];
            all.extend(arguments);
            let ran = ended(here.command(&all), "");
            assert_eq!(ran.code, Some(1), "{text}: {}", ran.stderr);
            assert!(
                ran.stderr.contains(said) && !ran.stdout.contains("swallowed"),
                "{text}: {}\n{}",
                ran.stdout,
                ran.stderr
            );
        }
    }
}

#[test]
fn dedup_leaves_what_is_the_same_and_says_what_it_can_not_tell() {
    for (text, shown) in [
        ("let a = [1, 2, 2, 2, 3, 4, 3, 3, 2, 1]; a.dedup(); a", "[1, 2, 3, 4, 3, 2, 1]"),
        (
            "let a = [1, 2, 2, 2, 3, 1, 2, 3, 4, 3, 3, 2, 1]; a.dedup(|a, b| a >= b); a",
            "[1, 2, 3, 4]",
        ),
        ("let a = []; a.dedup(); a", "[]"),
        ("let a = [1, \"a\", true, ()]; a.dedup(); a.len()", "4"),
        ("let a = [3, 3, 4]; try { a.dedup(|a, b| throw 1); } catch {} a", "[3, 3, 4]"),
    ] {
        let ran = script(text);
        assert_eq!((ran.code, ran.stdout.trim()), (Some(0), shown), "{text}: {}", ran.stderr);
    }
    let ran = script("let a = [1, 1]; a.dedup(|a, b| 1);");
    assert!(ran.stderr.contains("must be a bool, not 1"), "{}", ran.stderr);
}
