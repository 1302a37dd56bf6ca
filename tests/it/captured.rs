//! A closure may use the very variable that the function it is given to is called on.

use precompute::script::{Host, Settings};

const START: &str =
    r#"let m = model("demo:opt"); let ids = m.encode("Mary and John went to the store.");"#;

/// Each gives true.
#[track_caller]
fn all_hold(cases: &[&str]) {
    let host = Host::new(Settings { seed: Some(0), ..Settings::default() }).unwrap();
    for script in cases {
        match host.eval(&format!("{START} {script}")) {
            Ok(value) => assert_eq!(value.to_string(), "true", "{script}"),
            Err(failure) => panic!("{script}\n{failure}"),
        }
    }
}

#[test]
fn functions_of_a_model_take_closures_that_use_it() {
    all_hold(&[
        // A logit lens as the metric.
        r#"
        let there = m.gradients(ids, "post-mlp@1", |out| m.unembed(m.final_norm(out.stopped))[[0, -1, 5]], #{stop: "post-mlp@2"});
        let mm = m;
        let here = m.gradients(ids, "post-mlp@1", |out| mm.unembed(mm.final_norm(out.stopped))[[0, -1, 5]], #{stop: "post-mlp@2"});
        (there.gradients - here.gradients).abs().max().item() == 0.0 && there.gradients.abs().max().item() > 0.0
        "#,
        r#"
        let n = m.with_weights(#{"*.fc2.bias": |w| m.mlp(0).b_out * 2.0, "*.fc1.bias": |w| w * m.config.hidden_size});
        (n.mlp(2).b_out == m.mlp(0).b_out * 2.0).all().item()
        "#,
        r#"
        let seen = 0;
        let text = m.generate(ids, [hook("post-mlp", |x, ctx| { seen += m.unembed(m.final_norm(x)).shape[2]; x })], #{max_new_tokens: 2}).text;
        seen > 0 && text == m.generate(ids, #{max_new_tokens: 2}).text
        "#,
        r#"
        let ctx = context([hook("post-mlp", |x, ctx| { ctx.lens = m.unembed(m.final_norm(x)); })]);
        let out = m.forward(ids, ctx);
        (ctx.lens - out.logits).abs().max().item() < 1e-4
        "#,
        "(m.capture(ids, \"post-mlp@0\", [hook(\"post-mlp@0\", |x, ctx| m.capture(ids, \"post-mlp@1\"))]) == m.capture(ids, \"post-mlp@1\")).all().item()",
        // A hook on the way back.
        r#"
        let through = 0;
        m.gradients(ids, "pre-block@0", |out| m.unembed(m.final_norm(out.stopped)).sum(),
            [hook("post-mlp@1", |g, ctx| { through += m.unembed(g).shape[2]; }, #{backward: true})], #{stop: "post-mlp@2"});
        through == m.config.vocab_size
        "#,
    ]);
}

#[test]
fn nested_closures_and_loops_use_it_too() {
    all_hold(&[
        r#"
        let n = 0;
        let h = hook("post-mlp@0", |x, ctx| {
            let inner = |y| m.forward(ids, [hook("post-mlp@1", |z, c| { n += m.unembed(y).shape[0]; })]);
            inner.call(x);
            x
        });
        m.forward(ids, [h]);
        n == 1
        "#,
        r#"
        let found = [];
        for scale in [1.0, 2.0] {
            let g = m.gradients(ids, "post-mlp@3", |out| { let s = scale; m.unembed(m.final_norm(out.stopped))[[0, -1, 5]] * s }, #{stop: "post-mlp@3"});
            found.push(g.gradients);
        }
        (found[1] - found[0] * 2.0).abs().max().item() < 1e-5
        "#,
        r#"
        let shapes = [];
        for m in [m, model("demo:gpt-neox")] {
            let ids = m.encode("The keys");
            m.forward(ids, [hook("post-mlp@0", |x, ctx| { shapes.push(m.unembed(x).shape[2] == m.config.vocab_size); })]);
        }
        shapes == [true, true]
        "#,
        // By a function of the script, in whose scope the model has another name.
        r#"
        fn lens(net, ids) { let at = 0; net.forward(ids, [hook("post-mlp@0", |x, ctx| { at = net.unembed(x).shape; })]); at }
        lens(m, ids) == m.forward(ids).logits.shape && (|| m.forward(ids, [hook("logits", |x, ctx| { m.id; x })]).logits.shape).call() == lens(m, ids)
        "#,
    ]);
}

#[test]
fn other_values_are_free_while_a_function_called_on_them_runs() {
    all_hold(&[
        // What trainable gives, by its members.
        r#"
        let t = m.trainable("*.layers.0.fc2.*");
        let out = t.model.forward(ids, [hook("post-mlp@0", |x, ctx| t.model.unembed(x).sum() * 0.0 + x + t.variables["model.decoder.layers.0.fc2.bias"] * 0.0)], #{loss: true});
        gradient(out.loss, t.variables.values()).len == 2
        "#,
        r#"
        let v = variable(zeros(m.config.hidden_size));
        let o = sgd(v, #{lr: 0.25});
        let rates = [];
        let out = m.forward(ids, [hook("post-mlp@0", |x, ctx| x + v), hook("post-mlp@1", |g, ctx| { rates.push(o.lr); g * v.numel }, #{backward: true})], #{loss: true});
        o.step(out.loss);
        rates == [0.25]
        "#,
        r#"
        let kept = context([]);
        m.forward(ids, [hook("post-mlp", |x, ctx| { kept.n = kept.get("n", 0) + 1; kept[`${ctx.layer}`] = x; })]);
        kept.n == m.config.num_hidden_layers && kept["1"].shape == [1, ids.shape[1], m.config.hidden_size]
        "#,
        r#"
        let ctx = context([]);
        ctx.net = m;
        ctx.net.forward(ids, [hook("post-mlp@0", |x, c| { ctx.seen = ctx.net.unembed(x).shape[2]; })]);
        ctx.seen == m.config.vocab_size
        "#,
        r#"
        let loss = variable(ones(2)).sum();
        let f = || loss.item();
        no_grad(|| f.call() + loss.item()) == 4.0
        "#,
    ]);
}

/// A closure captures the variable: what it assigns is seen outside of it, and the other way round.
#[test]
fn captured_variables_are_still_variables() {
    all_hold(&[
        "let f = || m.id; m = model(\"demo:gpt-neox\"); f.call() == \"demo:gpt-neox\"",
        "let h = hook(\"logits\", |x, ctx| { m = (); }); let n = m; n.forward(ids, [h]); m == ()",
        "let t = zeros(3); let f = || { t = ones(3); }; f.call(); t.sum().item() == 3.0",
        "let t = zeros(3); let f = || { t += 2; t *= t; }; f.call(); t.sum().item() == 12.0",
        "let t = zeros(3); let f = |i| { t[i] = 5; t[i] += 1; }; f.call(1); t.to_array() == [0.0, 6.0, 0.0]",
        "let t = zeros(2, 3); let f = || { t[1][2] = 5; t.real[0] = 1; }; f.call(); t.sum().item() == 8.0",
        "let t = zeros(3).to(\"c64\"); let f = || { t.real = ones(3); t.imag[0] = 2; }; f.call(); t.abs().sum().item() > 4.0",
        "let r = topk(arange(3), 2); let f = || { r.values = 7; r.set(\"x\", 1); r.remove(\"indices\"); }; f.call(); r.keys() == [\"values\", \"x\"] && r.values == 7",
        "let c = context([]); let f = || { c.x = [1]; c.x.push(2); c[\"y\"] = 3; c.y += 1; }; f.call(); c.x == [1, 2] && c.y == 4",
        "let o = sgd(variable(ones(2))); let f = || { o.lr = 0.5; o.lr *= 2.0; }; f.call(); o.lr == 1.0",
        "let t = ones(3); let f = || t; let same = f.call(); same[0] = 5; t[0].item() == 5.0",
        "let t = ones(3); let all = [t, t]; let f = || t.shape; all.push(t); f.call() == [3] && all.len() == 3 && type_of(t) == \"tensor\"",
        "let t = ones(3); let n = 0; let f = || { for x in t { n += x.item(); } if (t.sum() == tensor(3.0)).item() { n += 1; } n }; f.call() == 4",
        "const T = ones(3); let f = || T.sum().item(); f.call() == 3.0",
    ]);
    let host = Host::new(Settings::default()).unwrap();
    for (script, said) in [
        ("const T = ones(3); let f = || T; T = 1;", "T is a constant"),
        ("const T = ones(3); let f = || T; T[0] = 1;", "would change a constant"),
        // A value of Rhai's own is locked.
        ("let log = [1]; log.map(|x| log.len())", "captured"),
        (
            "let all = [model(\"demo:opt\")]; all[0].forward(\"x\", [hook(\"logits\", |x, ctx| all.len() * x)])",
            "all is used by a closure while a call on it is running",
        ),
        (
            "let all = #{m: model(\"demo:opt\")}; all.m.forward(\"x\", [hook(\"logits\", |x, ctx| all.len() * x)])",
            "as in let own = all;",
        ),
    ] {
        let failure = host.eval(script).unwrap_err().to_string();
        assert!(failure.contains(said), "{script}: {failure}");
    }
}
