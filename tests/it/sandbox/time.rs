//! Work without end.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{all_refused, refused, run};
use crate::binary::Workplace;

/// One call that takes a minute or more.
const LONG: &str = "let x = rand([3000, 3000]); print(\"go\"); svd(x)";

#[test]
fn the_clock_ends_a_script_wherever_it_is() {
    const NO: &str = "the run has taken longer than 1s";
    let model = "let m = model(\"demo:opt\"); let ids = m.encode(\"a\");";
    let attacks = [
        "loop {}".to_owned(),
        "for i in range(0, 9223372036854775807) { try { throw 1 } catch {} }".into(),
        "let n = 0; while true { n += 1; timestamp(); }".into(),
        "let t = timestamp(); while t.elapsed < 1e9 {}".into(),
        "[1, 2].sort(|a, b| { loop {} })".into(),
        "fn fib(n) { if n < 2 { n } else { fib(n - 1) + fib(n - 2) } } fib(90)".into(),
        "let x = zeros([100000]); loop { for row in x {} }".into(),
        "let p = progress(\"x\", 10); loop { p.tick(); }".into(),
        "loop { let p = progress(\"x\", 1000000); }".into(),
        format!("{model} loop {{ m.forward(ids) }}"),
        format!("{model} m.forward(ids, context([hook(\"pre-block\", |x, c| {{ loop {{}} }})]))"),
        format!(
            "{model} m.forward(ids, context([hook(\"pre-block\", |x, c| {{ loop {{ m.forward(ids) }} }})]))"
        ),
        format!("{model} loop {{ m.generate(ids, #{{max_new_tokens: 3}}) }}"),
    ];
    let attacks: Vec<(&str, &str)> = attacks.iter().map(|attack| (attack.as_str(), NO)).collect();
    all_refused(&["--timeout", "1s"], &attacks);
    let here = Workplace::new(&[("s.rhai", "import \"spin\" as s;"), ("spin.rhai", "loop {}")]);
    refused(&run(&here, &["--timeout", "1s"]), NO, "spin");
    assert!(here.path().join("out/run.json").exists());
}

#[test]
fn the_clock_ends_an_operation_that_does_not_look_at_it() {
    let here = Workplace::new(&[("s.rhai", LONG)]);
    let began = Instant::now();
    let ran = run(&here, &["--timeout", "3s"]);
    refused(&ran, "the run has taken longer than 3s", LONG);
    assert_eq!(ran.stdout, "go\n");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn ctrl_c_twice_ends_an_operation_that_does_not_look() {
    let here = Workplace::new(&[("s.rhai", LONG)]);
    let mut child = here
        .command(&["run", "s.rhai"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    for _ in 0..2 {
        // SAFETY: signals a child that has not been waited for, so its id is still its own.
        assert_eq!(unsafe { libc::kill(child.id().try_into().unwrap(), libc::SIGINT) }, 0);
        std::thread::sleep(Duration::from_millis(300));
    }
    let pressed = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(pressed.elapsed() < Duration::from_secs(5), "{:?}", pressed.elapsed());
}

#[test]
fn ctrl_c_cannot_be_caught() {
    let attack = "let m = model(\"demo:opt\"); print(\"go\");\n\
        m.forward(m.encode(\"a\"), context([hook(\"pre-block\", |x, c| { loop { try { loop {} } catch {} } })]))";
    let here = Workplace::new(&[("s.rhai", attack)]);
    let mut child = here
        .command(&["run", "s.rhai"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    // SAFETY: as above.
    assert_eq!(unsafe { libc::kill(child.id().try_into().unwrap(), libc::SIGINT) }, 0);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_limit_has_its_number_in_the_help() {
    let here = Workplace::new(&[]);
    for command in ["run", "generate"] {
        let help = here.run(&[command, "--help"]).stdout;
        for said in [
            "--timeout",
            "24h",
            "--max-memory",
            "8GiB",
            "--max-output",
            "4GiB",
            "--max-files",
            "10000",
            "--max-steps",
        ] {
            assert!(help.contains(said), "{command} {said}: {help}");
        }
    }
    let defaults = precompute::script::Limits::default();
    assert_eq!((defaults.memory, defaults.output), (8 << 30, 4 << 30));
    assert_eq!(defaults.time, Duration::from_hours(24));
    let help = here.run(&["run", "--help"]).stdout;
    assert!(
        help.contains(&format!(
            "nesting: {} calls, {} expressions",
            defaults.calls, defaults.depth
        )),
        "{help}"
    );
    for (option, value) in [
        ("--timeout", "soon"),
        ("--timeout", "0s"),
        ("--timeout", "-1s"),
        ("--max-memory", "0"),
        ("--max-memory", "much"),
    ] {
        let ran = here.run(&["run", "s.rhai", option, value]);
        assert_eq!(ran.code, Some(2), "{option} {value}: {}", ran.stderr);
    }
}
