//! What a hook keeps of x is kept by value: no later write into x shows in it, by whatever way it
//! was kept.

use crate::binary::script;

/// What the script says before the hooks, how a hook keeps x, and where it is found afterwards.
const WAYS: &[(&str, &str, &str, &str)] = &[
    ("a key of ctx", "", "ctx.kept = x;", "ctx.kept"),
    ("a key in brackets", "", "ctx[\"kept\"] = x;", "ctx.kept"),
    ("a key of ctx.context", "", "ctx.context.kept = x;", "ctx.kept"),
    ("a captured variable", "let kept = ();", "kept = x;", "kept"),
    ("a captured array, pushed", "let kept = [];", "kept.push(x);", "kept[0]"),
    ("a captured array, inserted", "let kept = [1];", "kept.insert(0, x);", "kept[0]"),
    ("a captured array, added", "let kept = [];", "kept += [x];", "kept[0]"),
    ("an array written out", "let kept = ();", "kept = [1, x];", "kept[1]"),
    ("a place of a captured array", "let kept = [0, 0];", "kept[1] = x;", "kept[1]"),
    ("a captured map", "let kept = #{};", "kept.x = x;", "kept.x"),
    (
        "a captured map, by a worked out key",
        "let kept = #{};",
        "kept[`at ${ctx.layer}`] = x;",
        "kept[\"at 0\"]",
    ),
    ("a map written out", "let kept = ();", "kept = #{x: x};", "kept.x"),
    ("an array in ctx", "", "ctx.kept = ctx.get(\"kept\", []); ctx.kept.push(x);", "ctx.kept[0]"),
    ("an array for ctx", "", "ctx.kept = [[x]];", "ctx.kept[0][0]"),
    ("a map in ctx", "", "ctx.kept = #{}; ctx.kept.x = x;", "ctx.kept.x"),
    ("nested", "let kept = #{list: [#{}]};", "kept.list[0].x = #{y: [x]};", "kept.list[0].x.y[0]"),
    ("a second context", "let other = context();", "other.kept = x;", "other.kept"),
    (
        "a second context's map",
        "let other = context(); other.m = #{};",
        "other.m.kept = [x];",
        "other.m.kept[0]",
    ),
    ("what a fn returned", "", "ctx.kept = same(x);", "ctx.kept"),
    ("what a fn made of it", "let kept = ();", "kept = pair(x);", "kept[1]"),
    ("what a fn put into ctx", "", "keep(x, ctx);", "ctx.kept"),
    (
        "what another closure put away",
        "let kept = []; let away = |t| { kept.push(t); };",
        "away.call(x);",
        "kept[0]",
    ),
    ("in a map that holds the hook", "let kept = #{}; kept.f = || kept;", "kept.x = x;", "kept.x"),
    ("a map that a function gave", "let kept = m.heads(0);", "kept.x = x;", "kept.x"),
    ("a name of its own", "let kept = ();", "let y = x; kept = y;", "kept"),
    ("a part of it", "let kept = ();", "kept = x[[.., ..]];", "kept"),
    ("another shape of it", "", "ctx.kept = x.reshape(x.shape);", "ctx.kept"),
];

/// A write into x.
const WRITES: &[&str] =
    &["x *= 0.0;", "x += 1.0;", "x[..] = 7.0;", "x[[0, -1]] = 1000.0;", "x[x > 0.0] = 3.0;"];

#[test]
fn a_write_by_the_same_hook_or_another_does_not_show_in_what_was_kept() {
    for (at, (name, before, keep, kept)) in WAYS.iter().enumerate() {
        let write = WRITES[at % WRITES.len()];
        let text = format!(
            "fn same(x) {{ x }}\nfn pair(x) {{ [1, x] }}\nfn keep(x, ctx) {{ ctx.kept = x; }}\n\
             let m = model(\"demo:opt\"); let ids = m.encode(\"Mary and John\");\n\
             let plain = m.capture(ids, \"post-mlp\", #{{layers: 0}});\n\
             let changed = plain.copy(); {{ let x = changed; {write} }}\n\
             for hooks in 1..3 {{\n\
             {before}\n\
             let stood = ();\n\
             let look = |x, ctx| {{ stood = x.copy(); }};\n\
             let all = if hooks == 1 {{ [|x, ctx| {{ {keep} {write} }}] }} else {{ [|x, ctx| {{ {keep} }}, |x, ctx| {{ {write} }}] }};\n\
             all.push(look);\n\
             let ctx = context(all.map(|f| hook(\"post-mlp\", f, #{{layers: 0}})));\n\
             m.forward(ids, ctx);\n\
             print(({kept} == plain).all().item() && (stood == changed).all().item() && stood.shape == plain.shape);\n\
             // What was kept is the script's own from here on.\n\
             let own = {kept}; own[..] = 5.0;\n\
             print((m.capture(ids, \"post-mlp\", #{{layers: 0}}) == plain).all().item());\n\
             }}"
        );
        let ran = script(&text);
        assert_eq!(
            ran.stdout, "true\ntrue\ntrue\ntrue\n",
            "{name}: {keep} {write}\n{}",
            ran.stderr
        );
    }
}

#[test]
fn each_hook_that_keeps_keeps_what_it_was_given() {
    let ran = script(
        r#"
        let m = model("demo:opt"); let ids = m.encode("Mary and John");
        let seen = [];
        let hooks = [];
        for i in 0..4 { hooks.push(hook("post-mlp", |x, ctx| { seen.push(x); x += 1.0; seen.push(x); }, #{layers: 1})); }
        m.forward(ids, context(hooks));
        let first = seen[0].mean().item();
        let means = [];
        for t in seen { means.push((t.mean().item() - first).round()); }
        print(means);
        "#,
    );
    assert_eq!(ran.stdout, "[0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0]\n", "{}", ran.stderr);
}

#[test]
fn within_script_code_two_names_are_the_same_tensor() {
    let ran = script(
        r#"
        let m = model("demo:opt"); let ids = m.encode("Mary and John");
        // A name for x is x: a write through it takes effect.
        let ctx = context([hook("post-mlp", |x, ctx| { let y = x; y *= 0.0; ctx.sum = x.abs().sum().item(); }, #{layers: 0})]);
        print(m.capture(ids, "post-mlp", ctx, #{layers: 0}).abs().max().item());
        print(ctx.sum);
        // A log that the context and the script both name stays one.
        let log = zeros([4]);
        let logs = context([hook("post-mlp", |x, ctx| { ctx.log[ctx.layer] = 1.0; })]);
        logs.log = log;
        m.forward(ids, logs);
        print(log.sum().item());
        "#,
    );
    assert_eq!(ran.stdout, "0.0\n0.0\n4.0\n", "{}", ran.stderr);
}
