//! Hooks that can have no effect, by their own text: an error when they are bound. Those that do
//! something are not.

use precompute::script::{Host, Settings};

use crate::binary::{Workplace, script};

const BEFORE: &str = "let m = model(\"demo:opt\"); let ids = m.encode(\"Mary and\"); let seen = []; let n = 0; let log = zeros([4]);\n\
     let note = |v| { seen.push(v); };\n\
     fn same(x) { x }\nfn halved(x) { x * 0.5 }\nfn zero(x) { x *= 0.0; }\n";

/// A hook's body, what is said of it, what to write instead, and where the caret stands.
const IDLE: &[(&str, &str, &str, &str)] = &[
    (
        "{ x = x * 0.0; }",
        "x = … only gives another tensor the name x",
        "write x *= 0.0 to change it in place, or end with x",
        "x = x",
    ),
    ("{ x = x * 0.0; () }", "is not returned", "x *= 0.0", "x = x"),
    ("x = x * 0.0", "is not returned", "x *= 0.0", "x = x"),
    ("{ x = x + n; }", "is not returned", "write x += n", "x = x"),
    ("{ x = halved(x); }", "is not returned", "x *= 0.0 or x[..] = y, or end with x", "x = halved"),
    ("{ let x = x * 0.0; }", "let x = … makes another variable", "x *= 0.0", "let x"),
    (
        "{ let x = x.copy(); x *= 0.0; }",
        "let x = … makes another variable",
        "or end with x",
        "let x",
    ),
    (
        "{ let x = x.copy(); x[0] = 0.0; }",
        "let x = … makes another variable",
        "or end with x",
        "let x",
    ),
    ("{ x += \"oops\"; }", "x += makes a text of x", "or end with x", "x += "),
    ("{ x += `${n} oops`; }", "x += makes a text of x", "or end with x", "x += "),
    ("{ x += \"a\" + n; }", "x += makes a text of x", "or end with x", "x += "),
    ("{ if ctx.layer == 2 { x = x * 0.0; } }", "is not returned", "x *= 0.0", "x = x"),
    ("{ if ctx.layer == 2 { x } else { x = x * 0.0; } }", "is not returned", "x *= 0.0", "x = x"),
    ("{ switch ctx.layer { 1 => x = x * 0.0, _ => () } }", "is not returned", "x *= 0.0", "x = x"),
    (
        "{ switch ctx.layer { 1 => { x = x * 0.0; } 2..4 => { x *= 2.0; } } }",
        "is not returned",
        "x *= 0.0",
        "x = x",
    ),
    ("{ for i in 0..2 { x = x * 0.5; } }", "is not returned", "x *= 0.5", "x = x"),
    ("{ let i = 0; while i < 2 { x = x * 0.5; i += 1; } }", "is not returned", "x *= 0.5", "x = x"),
    ("{ loop { x = x * 0.5; break; } }", "is not returned", "x *= 0.5", "x = x"),
    ("{ try { x = x * 0.5; } catch { } }", "is not returned", "x *= 0.5", "x = x"),
    ("{ x = x * 0.0; return; }", "is not returned", "x *= 0.0", "x = x"),
    ("{ x = x * 0.0; return (); }", "is not returned", "x *= 0.0", "x = x"),
    ("{ x = x * 2.0; x = x + 1.0; }", "is not returned", "write x *= 2.0", "x = x * 2.0"),
    ("{ x = x * 0.0; x.mean(); () }", "is not returned", "x *= 0.0", "x = x"),
    ("{ x = x * 2.0; x *= 0.0; }", "is not returned", "or end with x", "x = x"),
    // What it does besides does not make the assignment one of use.
    ("{ seen.push(ctx.layer); x = x * 0.0; }", "is not returned", "x *= 0.0", "x = x"),
    ("{ x = x * 0.0; ctx.done = true; }", "is not returned", "x *= 0.0", "x = x"),
    ("{ ctx.kept = x; let x = x * 0.0; }", "let x = … makes another variable", "x *= 0.0", "let x"),
    // Only computing.
    ("{ x * 0.0; () }", "only computes", "or write into x, as in x *= 0.0", ""),
    ("{ x * 0.0; {} }", "only computes", "end it with the tensor", ""),
    ("{ x * 0.0; let y = 1; }", "only computes", "end it with", ""),
    ("{ let y = x * 0.0; }", "only computes", "end it with", ""),
    ("{ let y = x * 0.0; y += 1.0; }", "only computes", "end it with", ""),
    ("{ let y = x[0]; y *= 0.0; }", "only computes", "end it with", ""),
    ("{ let y = x.reshape([-1]); y[0] = 0.0; }", "only computes", "end it with", ""),
    ("{ for row in x { row *= 0.0; } }", "only computes", "end it with", ""),
    ("{ let l = []; l.push(x.mean()); }", "only computes", "end it with", ""),
    ("{ let l = #{}; l.x = x * 1.0; }", "only computes", "end it with", ""),
    ("{ softmax(x, -1); x.mean(); () }", "only computes", "end it with", ""),
    (
        "{ if x.mean().item() > 0.0 { x * 2.0; } else { } let z = 1; }",
        "only computes",
        "end it with",
        "",
    ),
    ("{ m.unembed(x); ctx.get(\"a\", 0); return; }", "only computes", "end it with", ""),
];

/// Hooks that do something, or say by themselves that they do nothing.
const BUSY: &[&str] = &[
    "x",
    "()",
    "{ }",
    "{ x * 0.0; }",
    "x * 0.0",
    "{ x *= 0.0; }",
    "x *= 0.0",
    "{ x += n; }",
    "{ x[0] = 0.0; }",
    "{ x[[.., -1]] *= 0.0; }",
    "{ x[0][0] = 0.0; }",
    "{ x = x * 2.0; x }",
    "{ x = x * 2.0; return x; }",
    "{ let x = x * 2.0; x }",
    "{ let x = x * 2.0; x + 1.0 }",
    "{ x = x * 2.0; x *= 3.0; x }",
    "{ x = x * 2.0; if n == 0 { x } else { x * 0.5 } }",
    "{ if n == 0 { x = x * 2.0; } x }",
    "{ if n == 0 { x * 2.0 } }",
    "{ if n == 0 { return x * 2.0; } }",
    "{ switch ctx.layer { 0 => x * 0.5, _ => () } }",
    "{ for i in 0..2 { x = x * 0.5; } x }",
    "{ let y = x; for i in 0..2 { y = y * 0.5; } y }",
    "{ let i = 0; loop { x = x * 0.5; i += 1; if i > 2 { break; } } x }",
    "{ let i = 0; let r = loop { i += 1; if i > 2 { break x * 0.5; } }; r }",
    "{ let last = (); for i in 0..2 { if last != () { ctx.sum = last.sum(); } last = x * i; } }",
    "{ x = x * 2.0; ctx.kept = x; }",
    "{ x = x * 2.0; seen.push(x); }",
    "{ x = x * 2.0; ctx.norms = [x.norm()]; }",
    "{ x = x * 2.0; seen.push(`${x}`); }",
    "{ let y = x; y *= 0.0; }",
    "{ let y = x; y[0] = 0.0; }",
    "{ let l = [x]; l[0] *= 0.0; }",
    "{ let l = #{x: x}; l.x *= 0.0; }",
    "{ let l = []; l.push(x * 2.0); ctx.list = l; }",
    "{ let y = same(x); y *= 0.0; }",
    "{ zero(x); }",
    "{ zero(x); () }",
    "{ n += 1; }",
    "{ n = x.mean().item(); }",
    "{ log[ctx.layer] = x.mean(); }",
    "{ log += 1.0; }",
    "{ seen.push(ctx.layer); }",
    "{ seen += [ctx.layer]; }",
    "{ note.call(ctx.layer); }",
    "{ ctx.kept = 1; }",
    "{ ctx[`${ctx.layer}`] = x; }",
    "{ ctx.context.kept = x.mean(); }",
    "{ ctx.remove(\"kept\"); }",
    "{ print(\"\"); }",
    "{ print(ctx.layer == 99); () }",
    "{ m.forward(ids); () }",
    "{ if false { throw \"no\"; } }",
    "{ try { x = x * 2.0; x.reshape([1]); } catch { } x }",
    "{ try { x.reshape([1]); } catch (e) { seen.push(e); } }",
    "{ let f = || x *= 0.0; f.call(); }",
    "{ let f = |v| { seen.push(v); }; f.call(1); }",
    "{ [0, 1].for_each(|i| x[[.., i]] = 0.0); }",
    "{ let s = if n == 0 { x = x * 2.0; x } else { x }; s }",
    "{ let t = x.transpose(0, 0); t }",
    "ctx.get(\"kept\", x)",
    "{ (n == 0) && { seen.push(1); true }; () }",
];

#[test]
fn a_hook_without_effect_is_an_error_when_it_is_bound() {
    let host = Host::new(Settings::default()).unwrap();
    for (body, said, instead, caret) in IDLE {
        let hook = format!("hook(\"post-mlp\", |x, ctx| {body});");
        let Err(failure) = host.eval(&format!("{BEFORE}{hook}")) else { panic!("{body}: bound") };
        let failure = failure.to_string();
        assert!(failure.contains(said) && failure.contains(instead), "{body}\n{failure}");
        if let Some(at) = hook.find(caret).filter(|_| !caret.is_empty()) {
            let (line, column) = (BEFORE.lines().count() + 1, hook[..at].chars().count() + 1);
            assert!(
                failure.contains(&format!("input:{line}:{column}\n")),
                "{body}: {caret}\n{failure}"
            );
        }
    }
}

#[test]
fn a_named_function_is_looked_into_too() {
    for (code, line) in [
        ("fn f(t, ctx) { t = t * 0.0; }\nhook(\"post-mlp\", f);", "s.rhai:1:16"),
        ("fn f(t, ctx) {\n  let t = t * 0.0;\n}\nhook(\"post-mlp\", f);", "s.rhai:2:3"),
        (
            "fn f(by, t, ctx) { t = t * by; }\nhook(\"post-mlp\", Fn(\"f\").curry(0.0));",
            "s.rhai:1:20",
        ),
    ] {
        let ran = script(code);
        assert_eq!(ran.code, Some(1), "{code}\n{}", ran.stderr);
        assert!(
            ran.stderr.contains("or end with t") && ran.stderr.contains(line),
            "{code}\n{}",
            ran.stderr
        );
    }
    let here = Workplace::new(&[
        ("made.rhai", "\n\n\nfn idle() { hook(\"post-mlp\", |x, ctx| { x = x * 0.0; }) }"),
        ("s.rhai", "import \"made\" as made;\nmade::idle();"),
    ]);
    let ran = here.run(&["run", "s.rhai"]);
    assert!(
        ran.stderr.contains("made.rhai:4:41") && ran.stderr.contains("s.rhai:2:"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_hook_that_does_something_is_bound_and_runs() {
    let host = Host::new(Settings::default()).unwrap();
    for body in BUSY {
        let pass = format!("m.forward(ids, context([hook(\"post-mlp\", |x, ctx| {body})])); true");
        let ran = host
            .eval(&format!("{BEFORE}{pass}"))
            .unwrap_or_else(|failure| panic!("{body}\n{failure}"));
        assert_eq!(ran.as_bool(), Ok(true), "{body}");
    }
}

#[test]
fn what_is_written_into_a_copy_that_nothing_holds_is_an_error() {
    for (code, said, help) in [
        (
            "m.weight(\"w\")[0] = 0.0;",
            "weight(…) gives a copy of a model's weights",
            "m.with_weights",
        ),
        ("m.weight(\"w\") *= 0.0;", "weight(…) gives a copy of a model's weights", "hook("),
        ("m.heads(0).w_q *= 0.0;", "heads(…) gives a copy of a model's weights", "m.with_weights"),
        ("m.heads(0).w_q[0] = 0.0;", "heads(…) gives a copy", "m.with_weights"),
        ("m.embedding()[0] = 0.0;", "embedding(…) gives a copy", "m.with_weights"),
        ("m.config.hidden_size = 1;", ".config gives a copy", "m.with_weights"),
        ("m.config.extra = 1;", ".config gives a copy", "m.with_weights"),
        ("m.config[\"extra\"] = 1;", ".config gives a copy", "m.with_weights"),
        ("m.config.hidden_size += 1;", ".config gives a copy", "m.with_weights"),
        ("m.config.remove(\"hidden_size\");", ".config gives a copy", "m.with_weights"),
        ("m.config = #{};", ".config gives a copy", "m.with_weights"),
        (
            "let out = m.forward(ids); out.logits[0] = 0.0;",
            ".logits gives a copy",
            "let y = out.logits",
        ),
        (
            "let out = m.forward(ids); out.logits *= 0.0;",
            ".logits gives a copy",
            "let y = out.logits",
        ),
        (
            "let out = m.forward(ids); out.logits = zeros([2]);",
            ".logits gives a copy",
            "let y = out.logits",
        ),
        ("m.forward(ids).logits[0] = 0.0;", "what forward(…) gives has no name", "let y ="),
        ("m.capture(ids, \"post-mlp\")[0] = 0.0;", "what capture(…) gives has no name", "let y ="),
        ("ids.reshape([-1])[0] = 0;", "what reshape(…) gives has no name", "let y ="),
        ("zeros([3])[0] = 1.0;", "what zeros(…) gives has no name", "let y ="),
    ] {
        let ran =
            script(&format!("let m = model(\"demo:opt\"); let ids = m.encode(\"Mary\");\n{code}"));
        assert_eq!(ran.code, Some(1), "{code}: {}", ran.stderr);
        for part in [said, help, "s.rhai:2:"] {
            assert!(ran.stderr.contains(part), "{code} lacks {part}\n{}", ran.stderr);
        }
    }
    let fine = script(
        r#"
        let m = model("demo:opt"); let ids = m.encode("Mary");
        let name = "model.decoder.final_layer_norm.weight";
        let w = m.weight(name); w *= 0.0; print(w.abs().sum().item());
        let heads = m.heads(0); heads.w_q *= 0.0; heads.w_q[0] = 1.0; print(heads.w_q.shape);
        let config = m.config; config.hidden_size = 1; config.remove("vocab_size"); print(config.hidden_size);
        let out = m.forward(ids); let y = out.logits; y *= 0.0; print(y.abs().sum().item());
        print(m.config.keys().contains("hidden_size") && m.config.hidden_size > 1 && m.config.get("none") == ());
        print(out.logits.softmax(-1).sum(-1)[[0, 0]].item().round());
        print(out.logits[0].argmax(-1).shape == [ids.shape[1]]);
        "#,
    );
    assert_eq!(fine.code, Some(0), "{}", fine.stderr);
    assert!(fine.stdout.ends_with("0.0\ntrue\n1.0\ntrue\n"), "{}", fine.stdout);
}
