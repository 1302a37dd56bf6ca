//! The command line: what goes where, exit codes, parameters, imports, and how runs end early.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::binary::{Workplace, script};

#[test]
fn the_last_value_is_shown_as_print_shows_it() {
    for (text, shown) in [
        ("40 + 2", "42\n"),
        ("let x = 1;", ""),
        ("print(\"a\"); \"b\"", "a\nb\n"),
        ("[1, 2.5, \"c\"]", "[1, 2.5, \"c\"]\n"),
        ("#{a: [()]}", "#{\"a\": [()]}\n"),
        ("if false { 1 }", ""),
        ("exit(7); 8", "7\n"),
        ("//! summary = \"a header\"\n1", "1\n"),
        ("", ""),
    ] {
        let ran = script(text);
        assert_eq!(
            (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
            (Some(0), shown, ""),
            "{text}"
        );
    }
}

#[test]
fn what_a_script_prints_goes_to_standard_output_and_errors_to_standard_error() {
    let ran = script("print(\"one\"); debug(2); throw \"three\"");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), "one\n2\n"));
    assert!(ran.stderr.starts_with("error: three\n"), "{}", ran.stderr);
}

#[test]
fn a_wrong_command_line_is_2() {
    let here = Workplace::new(&[("s.rhai", "param(\"n\", 1)"), ("d/x", "")]);
    here.write("latin.rhai", b"let s = \"\xe9\";");
    for (arguments, said) in [
        (&["run"] as &[&str], "<RECIPE>"),
        (&["run", "nope.rhai"], "error: there is no file nope.rhai"),
        (&["run", "d"], "error: d is a directory without a recipe"),
        (&["run", "latin.rhai"], "error: latin.rhai is not a script: its text is not UTF-8"),
        (&["run", "s.rhai", "--set", "n"], "a parameter is given as NAME=VALUE"),
        (
            &["run", "s.rhai", "--set", "m=1"],
            "error: --set m: the script has no parameter m\n  help: it has n",
        ),
        (
            &["run", "s.rhai", "--set", "n=1.5"],
            "error: --set n=1.5: n takes an integer\n  help: its default is 1",
        ),
        (&["run", "s.rhai", "--dtype", "f8"], "f32, f16, bf16, f64"),
        (&["run", "s.rhai", "--device", "tpu"], "error: --device: there is no device \"tpu\""),
        (&["run", "s.rhai", "--read", "nowhere"], "error: --read: nowhere is no directory"),
        (&["run", "s.rhai", "--seed=half"], "--seed"),
        (&["walk", "s.rhai"], "unrecognized subcommand 'walk'"),
        (&["completions", "cmd"], "bash"),
        (
            &["points", "demo:opr"],
            "error: there is no demo model \"opr\"\n  help: did you mean opt?",
        ),
        (&["points", "--offline", "facebook/opt-125m"], "this run is offline"),
    ] {
        let ran = here.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments:?} {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{arguments:?} {}", ran.stderr);
    }
}

const PARAMS: &str = r#"
let n = param("n", 3, "how many");
let c = param("cutoff", 0.5);
let text = param("text", "x");
let on = param("on", false);
let list = param("list", [1.0]);
[n, c, text, on, list]
"#;

#[test]
fn a_parameter_takes_the_type_of_its_default() {
    let here = Workplace::new(&[("s.rhai", PARAMS)]);
    assert_eq!(here.run(&["run", "s.rhai"]).stdout, "[3, 0.5, \"x\", false, [1.0]]\n");
    let given = ["n=7", "cutoff=1", "text=a=b", "on=true", "list=1,2"];
    let mut arguments = vec!["run", "s.rhai"];
    arguments.extend(given.iter().flat_map(|given| ["--set", given]));
    assert_eq!(here.run(&arguments).stdout, "[7, 1.0, \"a=b\", true, [1.0, 2.0]]\n");
}

#[test]
fn an_unknown_parameter_fails_before_anything_runs() {
    let here = Workplace::new(&[
        ("s.rhai", "import \"m\" as m; print(\"ran\"); param(\"cutoff\", 0.1)"),
        ("m.rhai", "fn depth() { param(\"depth\", 2) }"),
        ("computed.rhai", "for i in 0..2 { print(param(`p${i}`, 0)); }"),
    ]);
    let ran = here.run(&["run", "s.rhai", "--set", "cutof=1"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert_eq!(
        ran.stderr,
        "error: --set cutof: the script has no parameter cutof\n  help: did you mean cutoff? it has cutoff, depth\n"
    );
    assert_eq!(here.run(&["run", "s.rhai", "--set", "depth=3"]).code, Some(0));
    // Names that the script works out are known once it has run.
    assert_eq!(here.run(&["run", "computed.rhai", "--set", "p1=5"]).stdout, "0\n5\n");
    let ran = here.run(&["run", "computed.rhai", "--set", "p2=5"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), "0\n0\n"));
    assert!(ran.stderr.contains("it has p0, p1"), "{}", ran.stderr);
}

#[test]
fn the_parameters_are_listed_without_running_the_script() {
    let ran = Workplace::new(&[("s.rhai", PARAMS)]).run(&["run", "s.rhai", "--help-params"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (
            Some(0),
            "Parameters of the script:
  --set n=…   an integer, by default 3
      how many
  --set cutoff=…   a number, by default 0.5
  --set text=…   a text, by default \"x\"
  --set on=…   true or false, by default false
  --set list=…   an array, by default [1.0]
"
        )
    );
}

#[test]
fn imports_are_found_beside_the_importing_file_and_then_in_the_library() {
    let here = Workplace::new(&[
        (
            "dir/s.rhai",
            "import \"sub/a\" as a; import \"./lib/labels\" as l; [a::twice(4), l::layers(#{config: #{num_hidden_layers: 2}})]",
        ),
        (
            "dir/sub/a.rhai",
            "import \"b.rhai\" as b;\nprint(\"a runs once\");\nfn twice(x) { b::add(x, x) }",
        ),
        ("dir/sub/b.rhai", "import \"c\" as c; fn add(x, y) { x + y + c::ZERO }"),
        ("dir/sub/c.rhai", "export const ZERO = 0;"),
        ("own.rhai", "import \"lib/labels\" as l; l::layers(1)"),
        ("lib/labels.rhai", "fn layers(m) { `mine ${m}` }"),
        ("again.rhai", "import \"once\" as a; import \"other\" as b; import \"once\" as c; a::ONE"),
        ("once.rhai", "print(\"once\"); export const ONE = 1;"),
        ("other.rhai", "import \"once\" as a; fn f() { 1 }"),
        ("hidden.rhai", "let secret = 1; import \"peek\" as p; 1"),
        ("peek.rhai", "let x = secret;"),
    ]);
    let ran = here.run(&["run", "dir/s.rhai"]);
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("a runs once\n[8, [\"layer 0\", \"layer 1\"]]\n", "")
    );
    assert_eq!(here.run(&["run", "own.rhai"]).stdout, "mine 1\n");
    assert_eq!(here.run(&["run", "again.rhai"]).stdout, "once\n1\n");
    let ran = here.run(&["run", "hidden.rhai"]);
    assert!(
        ran.stderr.starts_with("error: there is no variable secret here\n   --> peek.rhai:1:9"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_closure_that_a_module_gives_is_called_anywhere() {
    let here = Workplace::new(&[
        ("lib/gives.rhai", "fn add(x, y) { x + y }\nfn adder(k) { |x| add(x, k) }\n"),
        ("lib/calls.rhai", "fn on(f, x) { f.call(x) }\nfn add(x, y) { 0 }\n"),
        ("lib/between.rhai", "import \"gives\" as gives;\nfn adder(k) { gives::adder(k) }\n"),
        (
            "all.rhai",
            "import \"lib/between\" as between; import \"lib/calls\" as calls; \
             let three = between::adder(3); \
             print([three.call(4), calls::on(three, 5), [1, 2].map(three)]); \
             let m = model(\"demo:opt\"); \
             print(m.forward(\"Mary\", [hook(\"post-mlp\", |x, ctx| three.call(x))]).logits.shape);",
        ),
        ("lib/copy.rhai", "fn add(x, y) { x * y }\nfn adder(k) { |x| add(x, k) }\n"),
        ("lib/same.rhai", "fn add(x, y) { x + y }\nfn adder(k) { |x| add(x, k) }\n"),
        (
            "two.rhai",
            "import \"lib/gives\" as gives; import \"lib/copy\" as copy; fn add(x, y) { 0 }\n\
             fn adder(k) { |x| add(x, k) } print([gives::adder(2), copy::adder(3), adder(4)].map(|f| f.call(5)));",
        ),
        ("lib/five.rhai", "const K = 5;\nfn add() { |x| x + global::K }\n"),
        ("lib/six.rhai", "const K = 6;\nfn add() { |x| x + global::K }\n"),
        ("constants.rhai", "import \"lib/five\" as five; import \"lib/six\" as six;"),
        ("own.rhai", "import \"lib/five\" as five;\nfn add() { |x| x + global::K }"),
        (
            "twice.rhai",
            "import \"lib/gives\" as a; import \"lib/same\" as b; print(b::adder(1).call(1));",
        ),
    ]);
    let ran = here.run(&["run", "all.rhai"]);
    assert_eq!(ran.stdout, "[7, 8, [4, 5]]\n[1, 3, 841]\n", "{}", ran.stderr);
    assert_eq!(here.run(&["run", "twice.rhai"]).stdout, "2\n");
    // The same closure at the same place, with another `add`.
    assert_eq!(here.run(&["run", "two.rhai"]).stdout, "[7, 15, 0]\n");
    // Of another constant: which is called could not be told.
    for (file, other) in [("constants", "lib/six.rhai"), ("own", "the script")] {
        let ran = here.run(&["run", &format!("{file}.rhai")]);
        let said = format!("and {other} have the same closure in line 2");
        assert!(ran.code == Some(1) && ran.stderr.contains(&said), "{file}: {}", ran.stderr);
    }
}

#[test]
fn no_import_leaves_the_scripts_directory() {
    let here = Workplace::new(&[
        ("outside.rhai", "export const X = 1;"),
        ("dir/up.rhai", "import \"../outside\" as o; o::X"),
        ("dir/down_and_up.rhai", "import \"sub/../../outside\" as o; o::X"),
        ("dir/linked.rhai", "import \"link\" as o; o::X"),
        ("dir/through.rhai", "import \"sub/link\" as o; o::X"),
        ("dir/missing.rhai", "import \"nothing\" as o; o::X"),
        ("dir/itself.rhai", "import \"itself\" as o; 1"),
        ("dir/round.rhai", "import \"ring\" as o; 1"),
        ("dir/ring.rhai", "import \"rang\" as o;"),
        ("dir/rang.rhai", "import \"ring\" as o;"),
    ]);
    let absolute = here.path().join("outside");
    here.write("dir/absolute.rhai", format!("import {absolute:?} as o; o::X").as_bytes());
    std::os::unix::fs::symlink("../outside.rhai", here.path().join("dir/link.rhai")).unwrap();
    std::os::unix::fs::symlink("..", here.path().join("dir/sub")).unwrap();
    here.write("link.rhai", b"export const X = 1;");
    for (file, said) in [
        ("up", "leaves the directory of the script"),
        ("down_and_up", "leaves the directory of the script"),
        ("absolute", "leaves the directory of the script"),
        ("linked", "leaves the directory of the script, through a link"),
        ("through", "leaves the directory of the script, through a link"),
        ("missing", "there is no nothing.rhai beside the script, and the library has none"),
        ("itself", "these scripts import each other in a circle: dir/itself.rhai"),
        (
            "round",
            "these scripts import each other in a circle: dir/ring.rhai, dir/rang.rhai, dir/ring.rhai",
        ),
    ] {
        let ran = here.run(&["run", &format!("dir/{file}.rhai")]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{file}");
        assert!(
            ran.stderr
                .lines()
                .next()
                .is_some_and(|line| line.ends_with(said) || line.contains(said)),
            "{file}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains("^"), "{file}: {}", ran.stderr);
    }
}

#[test]
fn ctrl_c_ends_a_script_within_a_second() {
    let here = Workplace::new(&[("s.rhai", "print(\"go\"); loop { let x = 1; }")]);
    let mut child = here
        .command(&["run", "s.rhai"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "go\n");
    let pressed = Instant::now();
    // SAFETY: signals a child that has not been waited for, so its id is still its own.
    assert_eq!(unsafe { libc::kill(child.id().try_into().unwrap(), libc::SIGINT) }, 0);
    let output = child.wait_with_output().unwrap();
    assert!(pressed.elapsed() < Duration::from_secs(1), "{:?}", pressed.elapsed());
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "interrupted\n");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let here = Workplace::new(&[(
        "s.rhai",
        "for i in 0..20000 { print(`a line of some length, number ${i}`); }",
    )]);
    for arguments in [&["run", "s.rhai"] as &[&str], &["points"]] {
        let mut child =
            here.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (output.status.code(), output.stderr.as_slice()),
            (Some(0), b"" as &[u8]),
            "{arguments:?}"
        );
    }
}

#[test]
fn an_error_that_nobody_reads_keeps_its_exit_code() {
    let here = Workplace::new(&[("s.rhai", "throw 1")]);
    let mut child = here.command(&["run", "s.rhai"]).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn output_that_does_not_fit_on_the_disk_is_an_error() {
    let here = Workplace::new(&[(
        "s.rhai",
        "for i in 0..20000 { print(`a line of some length, number ${i}`); }",
    )]);
    let command = "trap '' XFSZ; ulimit -f 8; exec \"$0\" run s.rhai > out.txt";
    let output = std::process::Command::new("sh")
        .args(["-c", command, env!("CARGO_BIN_EXE_precompute")])
        .current_dir(here.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("error: standard output can't be written to: File too large"),
        "{said}"
    );
}

#[test]
fn a_script_as_deep_as_the_limits_allow_runs() {
    let (open, close) = ("[".repeat(40), "]".repeat(40));
    let first = "[0]".repeat(40);
    let deep = format!(
        "fn f(n) {{ if n == 0 {{ 0 }} else {{ [1].map(|x| {{ let y = f(n - 1); {open}x + y{close}{first} }})[0] }} }} f(60)"
    );
    let ran = script(&deep);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "60\n"), "{}", ran.stderr);
}

#[test]
fn help_says_what_matters() {
    let here = Workplace::new(&[]);
    let help = here.run(&["--help"]);
    assert_eq!(help.code, Some(0));
    for said in [
        "run ",
        "points ",
        "models ",
        "completions ",
        "HF_HOME",
        "HF_TOKEN",
        "HF_ENDPOINT",
        "HF_HUB_OFFLINE",
        "130",
        "Examples:",
    ] {
        assert!(help.stdout.contains(said), "{said}: {}", help.stdout);
    }
    let help = here.run(&["run", "--help"]);
    for said in [
        "--set",
        "--model",
        "--device",
        "--dtype",
        "--out",
        "--offline",
        "--seed",
        "--read",
        "--help-params",
        "run.json",
    ] {
        assert!(help.stdout.contains(said), "{said}: {}", help.stdout);
    }
}

#[test]
fn completions_know_the_options() {
    let here = Workplace::new(&[]);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = here.run(&["completions", shell]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(ran.stdout.contains("help-params") && ran.stdout.contains("points"), "{shell}");
    }
}

#[test]
fn every_hook_point_is_listed() {
    let ran = Workplace::new(&[]).run(&["points"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    for point in precompute::hook::Point::ALL {
        assert!(
            ran.stdout.lines().any(|line| line.split_whitespace().next() == Some(point.name())),
            "{point}"
        );
    }
    assert!(ran.stdout.contains("blocks.{i}.hook_resid_post"), "{}", ran.stdout);
}

#[test]
fn a_models_points_have_its_sizes_and_its_names() {
    let here = Workplace::new(&[]);
    let line = |model: &str, point: &str| {
        let ran = here.run(&["points", &crate::fixture::directory(model).display().to_string()]);
        let line = ran
            .stdout
            .lines()
            .find(|line| line.split_whitespace().next() == Some(point))
            .map(str::to_owned);
        line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(
        line("opt", "query-states").unwrap().split(' ').next_back(),
        Some("blocks.{i}.attn.hook_q")
    );
    let neox = line("gpt-neox", "query-states").unwrap();
    assert!(
        neox.starts_with("query-states b 4 n ") && neox.ends_with("blocks.{i}.attn.hook_rot_q"),
        "{neox}"
    );
    // Points that the family does not have.
    assert_eq!(line("opt", "post-up"), None);
    assert!(line("llama", "post-up").is_some());
    assert_eq!(line("opt-post-norm", "final-norm-scale"), None);
}

#[test]
fn models_lists_what_is_here_and_what_is_supported() {
    let here = Workplace::new(&[]);
    for (model, config) in [("facebook--opt-125m", "opt"), ("someone--new", "mamba")] {
        let snapshot = format!("hf/hub/models--{model}/snapshots/{}", "a".repeat(40));
        here.write(
            &format!("{snapshot}/config.json"),
            format!("{{\"model_type\": {config:?}}}").as_bytes(),
        );
        here.write(&format!("hf/hub/models--{model}/blobs/b"), &[0; 2_500_000]);
    }
    let ran = here.run(&["models"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    for said in [
        "  demo:opt ",
        "  facebook/opt-125m  2.5 MB  opt\n",
        "  someone/new        2.5 MB  mamba, which is not supported\n",
        "  gpt_neox      EleutherAI/pythia-70m-deduped\n",
    ] {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
    let families = here.run(&["models", "--families"]);
    assert_eq!((families.code, families.stderr.as_str()), (Some(0), ""));
    for family in precompute::model::family::FAMILIES {
        let line = families
            .stdout
            .lines()
            .find(|line| line.trim_start().starts_with(&format!("{} ", family.name)));
        let line = line.unwrap_or_else(|| panic!("{}: {}", family.name, families.stdout));
        assert!(line.contains(family.example) && line.contains("tests/fixtures/"), "{line}");
    }
}

#[test]
fn an_output_directory_that_cannot_be_written_to_fails_before_the_script_runs() {
    let here = Workplace::new(&[("s.rhai", "print(\"ran\"); save(\"a\", 1)"), ("file", "")]);
    for out in ["file", "file/below", "/proc/nowhere"] {
        let ran = here.run(&["run", "s.rhai", "--out", out]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{out}");
        assert!(
            ran.stderr.starts_with("error: ") && ran.stderr.contains(out),
            "{out}: {}",
            ran.stderr
        );
    }
}

#[test]
fn what_does_not_fit_on_the_disk_is_not_saved_at_all() {
    let here = Workplace::new(&[("s.rhai", "save(\"small\", 1);\nsave(\"big\", ones([100000]));")]);
    let command = "trap '' XFSZ; ulimit -f 8; exec \"$0\" run s.rhai --out out";
    let output = std::process::Command::new("sh")
        .args(["-c", command, env!("CARGO_BIN_EXE_precompute")])
        .current_dir(here.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("error: big.safetensors")
            && said.contains("File too large")
            && said.contains("--> s.rhai:2:1"),
        "{said}"
    );
    let mut left: Vec<_> = std::fs::read_dir(here.path().join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["run.json", "small.json"]);
}
