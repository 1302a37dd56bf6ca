//! Sessions from a pipe: what lasts, and what the commands show.

use std::io::Write;
use std::process::Stdio;

use crate::binary::{Ran, Workplace};

/// A session with `lines`, on `demo:opt`.
fn session(here: &Workplace, lines: &[&str]) -> Ran {
    typed(here, &["--model", "demo:opt"], lines)
}

fn typed(here: &Workplace, arguments: &[&str], lines: &[&str]) -> Ran {
    let mut command = here.command(&["repl"]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.env("PRECOMPUTE_HOME", here.path().join("home")).spawn().unwrap();
    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    // A session that has ended early reads no further.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    child.wait_with_output().unwrap().into()
}

/// What a session without errors prints.
fn printed(lines: &[&str]) -> String {
    let ran = session(&Workplace::new(&[]), lines);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{lines:?}\n{}", ran.stdout);
    ran.stdout
}

#[test]
fn variables_functions_hooks_and_contexts_last() {
    let lines = [
        "let x = 20;",
        "fn twice(n) { n * 2 }",
        "const K = 2;",
        "fn k() { global::K }",
        "import \"lib/labels\" as labels;",
        "let ids = m.encode(\"Mary went\");",
        "let ctx = context([hook(\"post-mlp\", |x, ctx| { ctx.last = x; })]);",
        "m.forward(ids, ctx);",
        "[twice(x) + k(), ctx.last.rank, labels::layers(m).len()]",
        "let x = x + 1;",
        "x",
    ];
    assert_eq!(printed(&lines), "[42, 3, 4]\n21\n");
}

#[test]
fn a_function_means_what_it_was_last_defined_as_in_hooks_too() {
    let lines = [
        "let ids = m.encode(\"Mary went\");",
        "fn keep(x, ctx) { ctx.seen = mark(); }",
        "fn mark() { \"first\" }",
        "let made = |x, ctx| { ctx.made = \"with the first\"; };",
        "let ctx = context([hook(\"post-mlp\", keep), hook(\"pre-mlp\", made)]);",
        "m.forward(ids, ctx); [ctx.seen, ctx.made]",
        "fn mark() { \"second\" }",
        "m.forward(ids, ctx); ctx.seen",
        "fn keep(x, ctx) { ctx.seen = \"third\"; }",
        "let made = |x, ctx| { ctx.made = \"anew\"; };",
        "m.forward(ids, ctx); [ctx.seen, ctx.made]",
    ];
    assert_eq!(
        printed(&lines),
        "[\"first\", \"with the first\"]\nsecond\n[\"third\", \"with the first\"]\n"
    );
}

#[test]
fn lines_that_belong_together_are_joined_and_there_are_no_prompts() {
    let lines = ["fn f(a,", "     b)", "{", "  a + b", "}", "", "// (", "f(", "1, 2)", "`a", "b`"];
    assert_eq!(printed(&lines), "3\na\nb\n");
}

#[test]
fn the_first_error_ends_it_with_code_1_under_a_caret() {
    let here = Workplace::new(&[]);
    for (lines, said) in [
        (
            &["1", "", "let y = nope + 1;", "2"] as &[&str],
            "error: there is no variable nope here\n   --> input:3:9\n    |\n  3 | let y = nope + 1;\n    |         ^^^^\n",
        ),
        (
            &["1", "fn f(t) {", "  t.nonesuch()", "}", "let t = 1;", "  f(t);", "2"],
            "error: an int has no method nonesuch()\n   --> input:3:5\n    |\n  3 |   t.nonesuch()\n    |     ^^^^^^^^\n  in f, called at input:6:3\n",
        ),
        (&["1", "(2", "3"], "error: "),
        (
            &["1", ":nonesuch", "2"],
            "error: there is no command :nonesuch\n  help: :help lists the commands\n",
        ),
        (&["1", ":run nope.rhai", "2"], "error: there is no file nope.rhai\n"),
    ] {
        let ran = session(&here, lines);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), "1\n"), "{lines:?} {}", ran.stderr);
        assert!(ran.stderr.starts_with(said), "{lines:?} {}", ran.stderr);
    }
}

#[test]
fn the_model_of_the_command_line_is_m_and_other_models_are_at_hand() {
    assert_eq!(printed(&["m.id", "model(\"demo:gpt-neox\").id"]), "demo:opt\ndemo:gpt-neox\n");
    let here = Workplace::new(&[("s.rhai", "let n = model(\"demo:opt\"); n.id")]);
    let ran =
        typed(&here, &["--model", "demo:gpt-neox", "s.rhai"], &["n.id", "n.config.model_type"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "demo:gpt-neox\ndemo:gpt-neox\ngpt_neox\n"),
        "{}",
        ran.stderr
    );
    for arguments in [&["--model", "demo:opr"] as &[&str], &["nope.rhai"]] {
        let ran = typed(&here, arguments, &["1"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
    }
}

#[test]
fn help_knows_every_function_point_and_command() {
    let help = printed(
        &[
            ":help",
            ":help post-mlp",
            ":help blocks.1.attn.hook_pattern",
            ":help softmax",
            ":help .shape",
            ":help m.forward",
            ":help hook",
            ":help push",
            ":help :time",
            ":help run",
            "fn mine(a, b) { a }",
            ":help mine",
            ":help functions",
            ":help linear algebra",
        ]
        .map(|line| if line == ":help m.forward" { ":help forward" } else { line }),
    );
    for said in [
        " :save FILE ",
        "post-mlp, a hook point: the stream after the MLP (post-norm blocks: before their last norm)\n  shape b n d\n  in TransformerLens blocks.{i}.hook_resid_post\n  for example  let ctx = context([hook(\"post-mlp\", ",
        "attn-probs, a hook point: attention pattern",
        "softmax: exponentials along a dim, scaled to sum 1\n  for example  tensor([0.0, 1.0]).softmax(-1)\n  gives        tensor [2] f32 cpu: [0.26894, 0.73106]",
        ".shape: the sizes of the dims\n  for example  zeros(2, 3).shape\n  gives        [2, 3]",
        "forward: one pass: (ids or texts, context, ",
        "hook: a function of x and ctx, bound to a hook point",
        "push, a function of the language Rhai",
        ":time EXPR\n  how long an expression takes",
        ":run FILE\n  run a script as if it were typed here",
        "fn mine(a, b), of this session",
        "  Linear algebra             matmul  einsum  dot  outer  cosine_similarity  cov  corrcoef  svd",
        "  det                 the determinant",
    ] {
        assert!(help.contains(said), "{said}\n{help}");
    }
    let ran = session(&Workplace::new(&[]), &[":help sofmax"]);
    assert_eq!(ran.code, Some(0));
    let said = "error: there is no help on sofmax: it is no function, hook point or command\n  help: did you mean softmax";
    assert!(ran.stderr.starts_with(said), "{}", ran.stderr);
    // What m offers can be asked about.
    for point in precompute::hook::Point::ALL {
        assert!(
            printed(&[&format!(":help {point}")]).starts_with(&format!("{point}, a hook point: ")),
            "{point}"
        );
    }
}

#[test]
fn points_are_listed_in_the_sizes_of_the_model() {
    let listed = printed(&[":points"]);
    let hidden = printed(&["m.config.hidden_size"]);
    let line = listed.lines().find(|line| line.trim_start().starts_with("post-mlp ")).unwrap();
    assert!(
        line.contains(&format!(" b n {} ", hidden.trim())) && line.contains("hook_resid_post"),
        "{line}"
    );
    assert!(!listed.contains("post-up"), "OPT has no gate");
}

#[test]
fn variables_are_listed() {
    let lines = [
        "let ids = m.encode(\"Mary went\");",
        "const C = \"text\";",
        "let big = zeros(100, 100);",
        "fn f(x) { x }",
        ":vars",
    ];
    let listed = printed(&lines);
    for said in [
        "m ",
        "model demo:opt (opt, 4 layers",
        "const C ",
        "\"text\"",
        "tensor [100, 100] f32 cpu: mean 0",
        "fn f(x)",
    ] {
        assert!(listed.contains(said), "{said}\n{listed}");
    }
}

#[test]
fn hooks_are_listed_with_how_often_they_fired_and_what_that_cost() {
    let lines = [
        "let ids = m.encode(\"Mary went\");",
        "fn log(x, ctx) { }",
        "let last = hook(\"attn-probs\", |x, ctx| x, #{layers: -1});",
        "let ctx = context([hook(\"post-mlp\", log), last, hook(\"logits\", log)]);",
        ":hooks",
        "m.forward(ids, ctx);",
        "m.forward(m.encode(\"John went\"), ctx);",
        ":hooks",
    ];
    let listed = printed(&lines);
    let rows = |point: &str| -> Vec<Vec<&str>> {
        let named = listed.lines().filter(|line| line.split_whitespace().nth(1) == Some(point));
        named
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect()
    };
    assert_eq!(rows("post-mlp")[0], ["ctx", "post-mlp", "all", "log", "0", "—"]);
    assert_eq!(rows("post-mlp")[1][..5], ["ctx", "post-mlp", "all", "log", "4"]);
    assert!(rows("post-mlp")[1][5].ends_with("s"), "{listed}");
    assert_eq!(
        rows("attn-probs")[1][..5],
        ["ctx", "attn-probs", "-1", "closure at input:3:12", "1"]
    );
    assert_eq!(rows("logits")[1][..5], ["ctx", "logits", "—", "log", "1"]);
    assert_eq!(rows("logits").len(), 2);
    // Of the last pass alone, also where it ended early.
    let early = [
        "let ids = m.encode(\"Mary went\");",
        "fn log(x, ctx) { }",
        "let ctx = context([hook(\"post-mlp\", log, #{layers: [0, 1]})]);",
        "m.forward(m.encode(\"John went\"), ctx);",
        "m.forward(ids, ctx, #{logits: \"none\", stop: \"post-mlp@1\"});",
        ":hooks",
    ];
    let listed = printed(&early);
    assert!(
        listed.lines().any(|line| line.contains("post-mlp") && line.contains("  2  ")),
        "{listed}"
    );
}

#[test]
fn layers_before_the_first_function_that_is_new_are_not_run_again() {
    let begun = [
        "let ids = m.encode(\"Mary went\");",
        "fn early(x, ctx) { x * factor() }",
        "fn factor() { 1.5 }",
        "fn late(x, ctx) { x * 1.5 }",
        "let ctx = context([hook(\"post-mlp@0\", early), hook(\"post-mlp@3\", late)]);",
        "m.forward(ids, ctx);",
    ];
    let changed =
        ["fn late(x, ctx) { x * 2.0 }", "let y = m.forward(ids, ctx).logits.sum().item(); y"];
    let reached = ["fn factor() { 2.0 }", "let y = m.forward(ids, ctx).logits.sum().item(); y"];
    let shown = |lines: &[&[&str]], arguments: &[&str]| {
        let arguments = [&["--model", "demo:opt"], arguments].concat();
        let ran = typed(&Workplace::new(&[]), &arguments, &lines.concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        ran.stdout
    };
    let reused = |listed: &str| listed.lines().last().unwrap_or_default().to_owned();
    let late = shown(&[&begun, &changed, &[":hooks"]], &[]);
    assert_eq!(reused(&late), "of what was run last, 3 of 4 layers in 1 pass were not run again");
    let listed = late.lines().find(|line| line.contains("post-mlp@0")).unwrap();
    assert!(listed.contains("  0  "), "{listed}");
    let early = shown(&[&begun, &changed, &reached, &[":hooks"]], &[]);
    assert_eq!(reused(&early), "of what was run last, 0 of 4 layers in 1 pass were not run again");
    // The numbers are those of sessions in which nothing came before, and of one in which nothing
    // is reused.
    let values = |text: &str| {
        text.lines()
            .take_while(|line| !line.contains("point"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let fresh = shown(&[&begun, &changed, &reached, &[":hooks"]], &["--fresh"]);
    assert_eq!(values(&early), values(&fresh));
    assert_eq!(
        values(&late),
        values(&shown(
            &[&begun[..3], &changed[..1], &begun[4..5], &changed[1..], &[":hooks"]],
            &[]
        ))
    );
    assert_ne!(values(&early)[0], values(&early)[1]);
}

#[test]
fn a_module_that_changes_is_no_longer_what_it_was() {
    let here = Workplace::new(&[
        ("x.rhai", "fn f(x) { x * 2.0 }"),
        ("y.rhai", "fn f(x) { x * 3.0 }"),
        ("hooks.rhai", "import \"x\" as a;\nfn change(x, ctx) { a::f(x) }"),
    ]);
    let lines = [
        "let ids = m.encode(\"Mary went\");",
        ":run hooks.rhai",
        "let ctx = context([hook(\"post-mlp@0\", change)]);",
        "let two = m.forward(ids, ctx).logits.sum().item();",
        "import \"y\" as a;",
        "let other = context([hook(\"post-mlp@0\", |x, ctx| a::f(x))]);",
        "let three = m.forward(ids, other).logits.sum().item();",
        "import \"x\" as a;",
        "let other = context([hook(\"post-mlp@0\", |x, ctx| a::f(x))]);",
        "let two_again = m.forward(ids, other).logits.sum().item();",
        "[two == two_again, two != three]",
    ];
    let ran = session(&here, &lines);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("[true, true]\n", ""));
}

#[test]
fn the_models_are_listed() {
    let listed = printed(&["let other = model(\"demo:gpt-neox\");", ":model"]);
    assert!(listed.starts_with("m: demo:opt\n  opt, 4 layers of "), "{listed}");
    assert!(
        listed.contains("other: demo:gpt-neox\n  gpt_neox, ") && listed.contains("  f32 on cpu\n"),
        "{listed}"
    );
}

#[test]
fn a_script_is_run_as_if_typed() {
    let script = "let a = 5;\nfn add(x) { x + 1 }\nfn wrong() {\n    missing\n}\nadd(a)";
    let here = Workplace::new(&[("d/s.rhai", script)]);
    let ran = session(&here, &[":run d/s.rhai", "add(a) + 1", "wrong()"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), "6\n7\n"), "{}", ran.stderr);
    // A mistake in a file is shown in the file.
    let said =
        "error: there is no variable missing here\n   --> d/s.rhai:4:5\n    |\n  4 |     missing\n";
    assert!(ran.stderr.starts_with(said), "{}", ran.stderr);
    assert!(ran.stderr.contains("in wrong, called at input:3:1"), "{}", ran.stderr);
}

#[test]
fn a_script_finds_what_it_imports_beside_itself() {
    let here = Workplace::new(&[
        ("d/s.rhai", "import \"helper\" as helper;\nhelper::four()"),
        ("d/helper.rhai", "fn four() { 4 }"),
    ]);
    let ran = session(&here, &[":run d/s.rhai", "helper::four() + 1"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "4\n5\n"), "{}", ran.stderr);
}

#[test]
fn an_expression_is_timed() {
    let printed = printed(&[":time 40 + 2", ":time let kept = 1;", "kept"]);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!((lines[0], lines[3]), ("42", "1"), "{printed}");
    for line in [lines[1], lines[2]] {
        assert!(line.starts_with("took ") && line.ends_with('s'), "{line}");
    }
}

#[test]
fn a_saved_session_is_a_script_that_does_the_same() {
    let here = Workplace::new(&[("lib.rhai", "fn from_file(x) { x * 10 }\nlet y = 3;")]);
    let lines = [
        "let ids = m.encode(\"Mary went\") // the prompt",
        "fn scale(x, by) {",
        "  x * by",
        "}",
        ":run lib.rhai",
        "let ctx = context([hook(\"logits\", |x, ctx| scale(x, 0.0))])",
        "fn scale(x, by) { x * by * 1.0 }",
        "if true { y += 1 }",
        "let out = m.forward(ids, ctx)",
        ":save saved.rhai",
        "[from_file(y), out.logits.abs().max().item()]",
    ];
    let ran = session(&here, &lines);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "wrote saved.rhai\n[40, 0.0]\n"),
        "{}",
        ran.stderr
    );
    let saved = std::fs::read_to_string(here.path().join("saved.rhai")).unwrap();
    here.write("again.rhai", format!("{saved}\n{}", lines.last().unwrap()).as_bytes());
    for (model, code) in [("demo:opt", Some(0)), ("demo:gpt-neox", Some(0))] {
        let again = here.run(&["run", "again.rhai", "--set", &format!("model={model}")]);
        assert_eq!(
            (again.code, again.stdout.as_str()),
            (code, "[40, 0.0]\n"),
            "{saved}\n{}",
            again.stderr
        );
    }
}

#[test]
fn reset_forgets_all_but_the_models() {
    let lines = ["let x = 1;", "fn f() { 1 }", ":reset", "m.id", ":vars"];
    let listed = printed(&lines);
    assert!(
        listed.starts_with("demo:opt\n") && !listed.contains("x ") && !listed.contains("fn f"),
        "{listed}"
    );
    for gone in ["x", "f()"] {
        assert_eq!(
            session(&Workplace::new(&[]), &[&lines[..3], &[gone]].concat()).code,
            Some(1),
            "{gone}"
        );
    }
}

#[test]
fn quit_ends_it() {
    assert_eq!(printed(&["1", ":quit", "2"]), "1\n");
}

#[test]
fn a_directory_for_results_is_made_when_something_is_saved() {
    let here = Workplace::new(&[]);
    let ran = session(&here, &["1 + 1"]);
    assert_eq!((ran.code, here.path().join("runs").exists()), (Some(0), false));
    let ran = session(&here, &["save(\"a\", 1);", "save(\"b\", 2);"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr.starts_with("wrote runs/session-") && ran.stderr.ends_with(": a.json, b.json\n"),
        "{}",
        ran.stderr
    );
    let runs: Vec<_> = std::fs::read_dir(here.path().join("runs"))
        .unwrap()
        .map(|run| run.unwrap().path())
        .collect();
    assert_eq!(runs.len(), 1);
    let record = std::fs::read_to_string(runs[0].join("run.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert!(record["script"]["text"].as_str().unwrap().contains("save(\"b\", 2);"), "{record}");
    assert_eq!(record["models"][0]["id"], "demo:opt");
}

#[test]
fn a_hook_that_runs_in_every_pass_is_named_with_the_line_that_makes_it_so() {
    let here = Workplace::new(&[("log.rhai", "fn shown(x) {\n    print(x.shape);\n    x\n}\n")]);
    let lines = [
        "import \"log\" as log;",
        "let ids = m.encode(\"Mary\");",
        "let ctx = context([hook(\"post-mlp\", |x, ctx| log::shown(x), #{layers: 1})]);",
        "m.forward(ids, ctx);",
        ":hooks",
    ];
    let ran = typed(&here, &["--model", "demo:opt"], &lines);
    assert_eq!(
        ran.stdout.lines().last(),
        Some(
            "of what was run last, 0 of 4 layers in 1 pass were not run again; layer 1 and those after it run in every pass, as \
             the hook at post-mlp (input:3:20) calls print, which prints (log.rhai:2:5)"
        )
    );
}

#[test]
fn another_shells_words_are_answered() {
    let printed =
        printed(&["exit", "quit()", "help", "?", "help sum", "1 + 1", "let help = 3;", "help"]);
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[..2].iter().all(|line| line.starts_with(":quit leaves")), "{printed}");
    assert!(lines[2..5].iter().all(|line| line.starts_with(":help ")), "{printed}");
    assert_eq!(lines[5..], ["2", "3"], "a variable of that name is one");
}

#[test]
fn a_name_without_help_ends_no_session() {
    let ran = session(&Workplace::new(&[]), &[":help no_such_thing", "40 + 2"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "42\n"));
    assert!(ran.stderr.contains("there is no help on no_such_thing"), "{}", ran.stderr);
}

#[test]
fn what_is_saved_is_what_changed_something() {
    let here = Workplace::new(&[]);
    let lines = [
        "let list = [1, 2];",
        "list",
        "list.len() + 1",
        "list.map(|x| x * 2)",
        "list.push(3)",
        "print(list)",
        "fn add(x) { x.push(4); x }",
        "list = add(list)",
        "1 + 1 // a note",
        "m.forward(m.encode(\"a\")).logits.shape",
        ":help nope",
        ":save saved.rhai",
    ];
    let ran = session(&here, &lines);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let saved = std::fs::read_to_string(here.path().join("saved.rhai")).unwrap();
    let kept: Vec<&str> =
        saved.lines().skip(1).filter(|line| !line.contains("param(\"model\"")).collect();
    assert_eq!(
        kept,
        [
            "let list = [1, 2];",
            "list.push(3);",
            "print(list);",
            "fn add(x) { x.push(4); x }",
            "list = add(list);",
            "m.forward(m.encode(\"a\")).logits.shape;"
        ]
    );
}
