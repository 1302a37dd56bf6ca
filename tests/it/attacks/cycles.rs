//! Values that hold themselves, through what a closure captured: met wherever values are walked.

use crate::binary::{Workplace, script};

/// `s` holds a closure that captured `s`; `far` holds itself by way of two closures and an array;
/// `deep` is a long chain of closures, each of which captured the one before, twice.
const VALUES: &str = r#"
let s = #{n: 0};
s.f = |x, c| { s.n += 1; };
let far = #{n: 0};
let inner = |x, c| { far.n += 1; };
far.list = [[|x, c| inner.call(x, c)], 2];
let deep = || 0;
for i in 0..300 { let before = deep; let again = deep; deep = || before.call() + again.call(); }
"#;

#[track_caller]
fn prints(body: &str, expected: &str) {
    let ran = script(&format!("{VALUES}{body}"));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), expected), "{body}\n{}", ran.stderr);
}

#[test]
fn a_hook_that_captured_what_holds_it_runs_in_pass_after_pass() {
    for (hook, count) in [
        ("s.f", "s.n"),
        ("far.list[0][0]", "far.n"),
        ("|x, c| { far.n += 1; s.n += far.n; }", "far.n"),
    ] {
        prints(
            &format!(
                "let m = model(\"demo:opt\");\n\
                 let ids = m.encode(\"Mary and\");\n\
                 let ctx = context([hook(\"post-mlp\", {hook})]);\n\
                 m.forward(ids, ctx); m.forward(ids, ctx); m.capture(ids, \"post-mlp\", ctx);\n\
                 m.generate(ids, ctx, #{{max_new_tokens: 1}});\n\
                 print({count} == 4 * m.config.num_hidden_layers);"
            ),
            "true\n",
        );
    }
}

#[test]
fn passes_with_such_values_in_their_context_or_captured_unused_go_on() {
    prints(
        r#"
        let m = model("demo:opt");
        let ids = m.encode("Mary and");
        let ctx = context([hook("post-mlp", |x, ctx| { ctx.seen = ctx.get("seen", 0) + 1; })]);
        ctx.s = s; ctx.list = [far, s.f]; ctx.deep = deep; ctx.itself = [ctx];
        m.forward(ids, ctx); m.forward(ids, ctx);
        print(ctx.seen == 2 * m.config.num_hidden_layers);
        let looks = context([hook("post-mlp", |x, ctx| { if false { deep.call() } else { x * s.n } })]);
        print((m.forward(ids, looks).logits == m.forward(ids, looks).logits).all().item());
        "#,
        "true\ntrue\n",
    );
}

/// What such a value gives where it is walked: a part of standard output, or of the sentence that
/// it can't be.
#[test]
fn such_values_are_shown_compared_and_refused() {
    let here = Workplace::new(&[]);
    for (code, said) in [
        ("print(s)", "#{\"f\": Fn("),
        ("print(far.to_string())", "#{\"list\": [[Fn("),
        ("print(`${[s, far]}`)", "[#{\"f\": Fn("),
        ("debug(s)", "#{\"f\": Fn("),
        ("print(deep)", "Fn("),
        ("throw s", "the script threw #{"),
        ("throw far", "the script threw #{"),
        ("try { throw far; } catch (e) { print(e); }", "#{\"list\""),
        ("print(s == s)", "true"),
        ("print(far == far)", "true"),
        ("print(s != far)", "true"),
        ("print(s.f == far.list[0][0])", "false"),
        ("print(deep == deep)", "true"),
        ("print(s in [far, s])", "true"),
        ("print([far, s].index_of(s))", "1"),
        ("print([s, s, far].dedup() == ())", "true"),
        ("print([#{a: 1}].to_string() == [s].to_string())", "false"),
        ("switch s { 1 => 2, _ => print(\"other\") }", "other"),
        ("switch far { 1 => 2, _ => print(\"other\") }", "other"),
        ("let copies = [s]; copies.pad(3, far); print(copies.len)", "3"),
        ("print(s.to_json())", "to_json: a function is no data"),
        ("let own = far; print(own.to_json())", "to_json: a function is no data"),
        ("print(#{a: [1, tensor([0.5])], b: #{}}.to_json())", "{\"a\":[1,[0.5]],\"b\":{}}"),
        ("save(\"s\", s)", "a function is no data"),
        ("save(\"far.json\", [far])", "a function is no data"),
        ("save(\"deep\", #{deep: deep})", "a function is no data"),
        ("table([s])", "a function is no data"),
        ("plot(#{y: far})", "y must hold numbers alone"),
        ("param(\"s\", s)", ""),
        (
            "let ctx = context(); ctx.s = s; ctx.c = [ctx]; print(ctx)",
            "context of 0 hooks, keys: [c, s]",
        ),
        ("print(hook(\"post-mlp\", s.f))", "hook(\"post-mlp\""),
    ] {
        here.write("s.rhai", format!("{VALUES}{code};").as_bytes());
        let ran = here.run(&["run", "s.rhai", "--out", "out"]);
        assert!(
            ran.code == Some(0) || ran.code == Some(1),
            "{code}: {:?} {}",
            ran.code,
            ran.stderr
        );
        assert!(
            ran.stdout.contains(said) || ran.stderr.contains(said),
            "{code}\n{}\n{}",
            ran.stdout,
            ran.stderr
        );
        for bad in ["panicked", "nests values too deeply"] {
            assert!(!ran.stderr.contains(bad), "{code}: {}", ran.stderr);
        }
        assert!(
            !here.path().join("out/s.json").exists() && !here.path().join("out/deep.json").exists(),
            "{code}"
        );
    }
}

#[test]
fn a_session_lists_and_forgets_them() {
    let here = Workplace::new(&[]);
    let mut command = here.command(&["repl"]);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let input =
        format!("{}\n:vars\ns\nfar\ns == s\n:reset\n1 + 1\n", VALUES.trim().replace('\n', " "));
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("true\n") && out.trim_end().ends_with('2'), "{out}\n{err}");
}
