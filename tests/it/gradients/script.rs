//! `m.gradients`, variables and hooks on the way back, as scripts use them.

use precompute::script::{Host, Settings};

use crate::binary;

fn host() -> Host {
    Host::new(Settings { seed: Some(0), ..Settings::default() }).unwrap()
}

const START: &str =
    r#"let m = model("demo:opt"); let ids = m.encode("Mary and John went to the store.");"#;

/// Runs a script with a model `m` and its `ids`; its last value must be true.
#[track_caller]
fn holds(script: &str) {
    match host().eval(&format!("{START} {script}")) {
        Ok(value) => assert_eq!(value.to_string(), "true", "{script}"),
        Err(failure) => panic!("{script}\n{failure}"),
    }
}

/// The script's error, which must have `said` in it.
#[track_caller]
fn fails(script: &str, said: &str) {
    match host().eval(&format!("{START} {script}")) {
        Ok(value) => panic!("{script} gives {value}"),
        Err(failure) => {
            let text = failure.to_string();
            assert!(text.contains(said), "{script}\n{text}\nwithout\n{said}");
        }
    }
}

/// What a change at a point makes of the metric, by the gradient and by running the pass.
#[test]
fn a_gradient_is_the_slope_of_the_metric() {
    for point in ["pre-block", "post-mlp", "post-act", "query-states", "attn-norm-scale"] {
        holds(&format!(
            r#"
            let metric = |out| out.logits[[0, -1, 5]] - out.logits[[0, -1, 9]];
            let g = m.gradients(ids, "{point}", metric, #{{layers: 1}});
            seed(1);
            let u = randn(g.gradients.shape);
            let at = |e| metric.call(m.forward(ids, [hook("{point}", |x, ctx| x + u * e, #{{layers: 1}})])).item();
            let by_run = (at.call(0.004) - at.call(-0.004)) / 0.008;
            let by_gradient = (g.gradients * u).sum().item();
            (by_run - by_gradient).abs() < 0.002
            "#
        ));
    }
}

#[test]
fn what_gradients_gives() {
    holds(
        r#"
        let g = m.gradients(ids, ["post-mlp", "attn-probs", "logits"], |out| out.logits[[0, -1, 5]]);
        let c = m.capture(ids, ["post-mlp", "attn-probs", "logits"]);
        g.keys() == ["activations", "gradients", "out", "value"]
            && g.activations.keys() == c.keys() && g.gradients.keys() == c.keys()
            && (g.activations["post-mlp"] - c["post-mlp"]).abs().max().item() < 0.00001
            && g.gradients["attn-probs"].shape == c["attn-probs"].shape
            && g.out.logits.shape == c.logits.shape
            && (g.value - g.out.logits[[0, -1, 5]]).abs().item() == 0.0
            && g.gradients.logits[[0, -1, 5]].item() == 1.0 && g.gradients.logits.sum().item() == 1.0
        "#,
    );
    // One layer has no axis of layers, several metrics have an axis before it.
    holds(
        r#"
        let one = m.gradients(ids, "post-mlp@2", |out| out.logits[[0, -1, 5]]).gradients;
        let many = m.gradients(ids, "post-mlp", |out| out.logits[[0, -1, 4..7]]).gradients;
        one.shape == [1, ids.shape[1], m.config.hidden_size]
            && many.shape == [3, m.config.num_hidden_layers, 1, ids.shape[1], m.config.hidden_size]
            && (many[[1, 2]] - one).abs().max().item() < 1e-6
        "#,
    );
}

#[test]
fn what_hooks_do_is_part_of_the_graph() {
    // Twice the stream passes twice the gradient to what stood there before.
    holds(
        r#"
        let metric = |out| out.logits[[0, -1, 5]];
        let plain = m.gradients(ids, "pre-block@1", metric, [hook("post-mlp", |x, ctx| x * 1.0, #{layers: 3})]);
        let frozen = m.gradients(ids, "pre-block@1", metric, [hook("post-mlp", |x, ctx| x.detach() + x * 0.0, #{layers: 3})]);
        plain.gradients.abs().max().item() > 0.0 && frozen.gradients.abs().max().item() == 0.0
        "#,
    );
    // Through the context and through captured variables, which are out of the graph afterwards.
    holds(
        r#"
        let kept = ();
        let ctx = context([
            hook("post-mlp", |x, ctx| { ctx.seen = x * 3.0; kept = x * 2.0; }, #{layers: 2}),
        ]);
        let g = m.gradients(ids, "mlp-residual@2", |out| ctx.seen.sum() + kept.sum(), ctx).gradients;
        let said = "";
        try { gradient(ctx.seen.sum() + kept.sum(), variable(ones(1))); } catch (e) { said = e; }
        g.min().item() == 5.0 && g.max().item() == 5.0
            && said.to_string().contains("depends on nothing whose gradient is kept")
        "#,
    );
    // A frozen pattern, as in linearised models: attention is linear in the values then.
    holds(
        r#"
        let freeze = [hook("attn-probs", |x, ctx| x.detach()), hook(["attn-norm-scale", "mlp-norm-scale", "final-norm-scale"], |x, ctx| x.detach())];
        let a = m.gradients(ids, "query-states", |out| out.logits[[0, -1, 5]] + 0.0 * out.logits.sum(), #{layers: 3}).gradients;
        let said = "";
        try { m.gradients(ids, "query-states", |out| out.logits[[0, -1, 5]], freeze, #{layers: 3}); } catch (e) { said = e; }
        a.abs().max().item() > 0.0 && said.to_string().contains("depends on nothing whose gradient is kept")
        "#,
    );
}

#[test]
fn hooks_on_the_way_back() {
    holds(
        r#"
        let seen = ();
        let metric = |out| out.logits[[0, -1, 5]];
        let g = m.gradients(ids, "post-mlp", metric);
        let watch = [hook("post-mlp", |g, ctx| { seen = [ctx.point, ctx.layer, g]; }, #{backward: true, layers: 2})];
        let h = m.gradients(ids, "post-mlp", metric, watch);
        seen[0] == "post-mlp" && seen[1] == 2 && (seen[2] - g.gradients[2]).abs().max().item() < 1e-6
            && (g.gradients - h.gradients).abs().max().item() == 0.0
        "#,
    );
    // What it returns goes on instead, at the picked tokens alone.
    holds(
        r#"
        let metric = |out| out.logits[[0, -1, 5]];
        let half = [hook("post-mlp", |g, ctx| g * 0.5, #{backward: true, layers: 3})];
        let g = m.gradients(ids, "post-mlp@1", metric).gradients;
        let h = m.gradients(ids, "post-mlp@1", metric, half).gradients;
        let none = [hook("post-mlp", |g, ctx| g * 0.0, #{backward: true, layers: 3, positions: -1})];
        let z = m.gradients(ids, "post-mlp@1", metric, none).gradients;
        (g * 0.5 - h).abs().max().item() < 1e-6 && z.abs().max().item() == 0.0
        "#,
    );
    fails(
        r#"m.forward(ids, [hook("post-mlp", |g, ctx| g * 0.5, #{backward: true})]);"#,
        "waits for a gradient, and this pass never goes back",
    );
    fails(
        r#"let v = variable(zeros(128)); let back = hook("post-mlp@2", |g, ctx| g, #{backward: true});
        m.generate(ids, [hook("post-mlp@1", |x, ctx| x + v), back], #{max_new_tokens: 2});"#,
        "waits for a gradient, and generate never goes back",
    );
    fails(
        r#"hook("post-mlp", |g, ctx| g * 0.5, #{backward: true, steps: 1..})"#,
        "steps are passes of generate, and generate never goes back",
    );
    fails(
        r#"m.gradients(ids, "post-mlp", |out| out.logits[[0, -1, 5]], [hook("post-mlp", |g, ctx| g[[0]], #{backward: true})]);"#,
        "must return a tensor",
    );
}

/// Nothing silently does nothing.
#[test]
fn a_hook_that_no_gradient_comes_by_is_said() {
    let said = "warning: no gradient came by the hook at post-mlp@3";
    let back =
        "let n = 0; let back = hook(\"post-mlp@3\", |g, ctx| { n += 1; g }, #{backward: true});";
    let keep = "hook(\"post-mlp@1\", |x, ctx| { ctx.kept = x * 1.0; })";
    for (script, warned) in [
        (format!("let c = context([{keep}, back]); m.gradients(ids, \"post-mlp@0\", |out| c.kept.sum(), c); print(n)"), true),
        (format!("let c = context([{keep}, back]); m.gradients(ids, \"post-mlp@0\", |out| c.kept.sum() + out.logits.sum(), c); print(n - 1)"), false),
        // A pass in which a variable takes part, and from which nothing goes back.
        ("let t = m.trainable(\"*.0.fc2.*\"); t.model.forward(ids, [back]); print(n)".into(), true),
        ("let t = m.trainable(\"*.0.fc2.*\"); sgd(t.variables).step(t.model.forward(ids, [back], #{loss: true}).loss); print(n - 1)".into(), false),
        // Said once, however often it happens.
        ("let t = m.trainable(\"*.0.fc2.*\"); for i in 0..3 { t.model.forward(ids, [back]); } print(n)".into(), true),
        // An error is said, and nothing else.
        (format!("let c = context([{keep}, back]); try {{ m.gradients(ids, \"post-mlp@0\", |out| out.nothing, c); }} catch {{}} print(n)"), false),
    ] {
        let ran = binary::script(&format!("{START} {back} {script}"));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "0\n"), "{script}\n{}", ran.stderr);
        assert_eq!(ran.stderr.matches(said).count(), usize::from(warned), "{script}\n{}", ran.stderr);
    }
}

#[test]
fn variables_take_part_in_passes() {
    holds(
        r#"
        let v = variable(zeros([m.config.hidden_size]));
        let steer = [hook("post-mlp", |x, ctx| x + v, #{layers: 1})];
        let g = gradient(m.forward(ids, steer, #{loss: true}).loss, v);
        let h = m.gradients(ids, "post-mlp@1", |out| out.loss, #{loss: true}).gradients.sum([0, 1]);
        (g - h).abs().max().item() < 1e-6 && g.abs().max().item() > 0.0
        "#,
    );
    holds(
        r#"
        let v = variable(tensor([1.0, 2.0])); let w = variable(tensor(3.0));
        let all = gradient((v * v * w).sum(), [v, w]);
        all[0].to_array() == [6.0, 12.0] && all[1].item() == 5.0
            && no_grad(|| (v * 2.0)).to_array() == [2.0, 4.0]
        "#,
    );
    // Layers whose states are kept are run again where a variable takes part.
    holds(
        r#"
        let v = variable(zeros([m.config.hidden_size]));
        let steer = [hook("post-mlp", |x, ctx| x + v, #{layers: 0})];
        m.forward(ids, [hook("post-mlp", |x, ctx| x + zeros([m.config.hidden_size]), #{layers: 0})], #{loss: true});
        let a = gradient(m.forward(ids, steer, #{loss: true}).loss, v);
        let b = gradient(m.forward(ids, steer, #{loss: true}).loss, v);
        (a - b).abs().max().item() == 0.0 && a.abs().max().item() > 0.0
        "#,
    );
}

#[test]
fn what_cannot_be_differentiated_is_said() {
    for (script, said) in [
        ("gradient(3.0, variable(ones(2)))", "the loss must be a tensor of one number"),
        ("gradient(ones(2).sum(), variable(ones(2)))", "depends on nothing whose gradient is kept"),
        ("let v = variable(ones(2)); gradient((v * 2.0).sum(), ones(2))", "takes variables"),
        ("let v = variable(ones(2)); gradient(v * 2.0, v)", "that of one number"),
        (
            "let v = variable(ones(2)); let w = variable(ones(3)); gradient((v * 2.0).sum(), [v, w])",
            "does not depend on variable 1, [3],: nothing connects the two",
        ),
        ("let v = variable(ones(2)); gradient((v.detach() * 2.0).sum(), v)", "depends on nothing"),
        (
            "let v = variable(ones(2)); no_grad(|| gradient((v * 2.0).sum(), v))",
            "depends on nothing",
        ),
        ("variable(tensor([1, 2]))", "a variable is a tensor of floats"),
        ("m.gradients(ids, \"post-mlp\", |out| 3.0)", "the metric must be a tensor of one number"),
        ("m.gradients(ids, \"post-mlp\", |out| ones(2).sum())", "the metric depends on nothing"),
        (
            "m.gradients(ids, \"post-mlp\", |out| out.logits)",
            "the metric must be one number, or [k]",
        ),
        ("m.gradients(ids, \"post-mlp\", || 1.0)", "the metric of gradients takes one parameter"),
        (
            "let n = 1; m.gradients(ids, \"post-mlp\", |a, b| a.loss + n)",
            "the metric of gradients takes one parameter",
        ),
        ("let n = 1; no_grad(|x| n)", "no_grad calls a function of no parameters"),
        ("gradient(variable(ones(2)).sum(), [])", "gradient got no variables"),
        (
            "let n = 1; m.with_weights(#{\"*.fc2.bias\": |w, x| w * n})",
            "a function in a weight's place takes one parameter",
        ),
        ("m.gradients(ids, \"post-mpl\", |out| out.logits[[0, -1, 5]])", "post-mlp"),
        ("m.gradients(ids, \"post-mlp\", |out| out.logits[[0, -1, 5]], #{layer: 1})", "layers"),
        ("m.gradients(ids, \"post-mlp\", |out| out.loss)", "made no loss"),
        (
            "no_grad(|| m.gradients(ids, \"post-mlp\", |out| out.logits[[0, -1, 5]]))",
            "within no_grad",
        ),
        (
            "m.gradients(ids, \"unreduced-loss\", |out| out.logits[[0, -1, 5]])",
            "the metric depends on nothing whose gradient is kept",
        ),
    ] {
        fails(script, said);
    }
}

/// A graph that was made before a variable moved would go back with the variable's new numbers.
#[test]
fn a_graph_older_than_a_step_is_refused() {
    let old = "moved: its gradients would mix old numbers and new ones";
    for script in [
        "let v = variable(ones(2)); let l = (v * v).sum(); sgd([v], #{lr: 1.0}).step(v.sum()); gradient(l, v)",
        "let a = variable(ones(1)); let b = variable(ones(1)); let l = (a * b).sum(); \
         sgd([a]).step(l); sgd([b]).step(l);",
        "let t = m.trainable(\"*.fc1.weight\"); let o = sgd(t.variables); \
         let out = t.model.forward(ids, #{loss: true}); o.step(out.loss); o.step(out.loss);",
        "let t = m.trainable(\"*.fc1.weight\"); let o = sgd(t.variables); let n = t.model; \
         n.gradients(ids, \"post-mlp\", |out| { o.step(out.loss); out.logits[[0, -1, 5]] }, #{loss: true})",
    ] {
        fails(script, old);
    }
    fails(
        "let a = variable(zeros([128])); let n = m.with_weights(#{\"*.fc2.bias\": |w| w + a}); let o = sgd([a]); \
         for i in 0..2 { o.step(n.forward(ids, #{loss: true}).loss); }",
        "was computed from a variable that has moved since",
    );
    // A tensor from before the step that a hook of a later pass captured, or that was written into a
    // new one, or joined to one.
    for script in [
        "let t = v * 2.0; o.step(v.sum()); \
         let out = m.forward(ids, [hook(\"post-mlp@0\", |x, ctx| x + t + v)], #{loss: true}); gradient(out.loss, v)",
        "let ctx = context([hook(\"post-mlp@0\", |x, ctx| { x[[.., 0]] = ctx.t; })]); ctx.t = v * 2.0; o.step(v.sum()); \
         gradient(m.forward(ids, ctx, #{loss: true}).loss, v)",
        "let t = v * 2.0; o.step(v.sum()); let y = zeros(128); y[0] = t[0]; y[1] = v[1]; gradient(y.sum(), v)",
        "let t = v * 2.0; o.step(v.sum()); gradient(m.unembed((t + v).reshape(1, 1, -1)).sum(), v)",
        "let t = v * 2.0; o.step(v.sum()); \
         m.gradients(ids, \"post-mlp@3\", |out| out.logits[[0, -1, 5]], [hook(\"post-mlp@3\", |x, ctx| x + t)])",
    ] {
        fails(
            &format!("let v = variable(ones(128)); let o = sgd([v], #{{lr: 0.1}}); {script}"),
            old,
        );
    }
    // What was computed from another variable is as it was.
    holds(
        "let v = variable(ones(128)); let w = variable(ones(128)); let t = w * 2.0; sgd([v]).step(v.sum()); \
         let out = m.forward(ids, [hook(\"post-mlp@0\", |x, ctx| x + t + v)], #{loss: true}); \
         let both = gradient(out.loss, [v, w]); (both[0] * 2.0 - both[1]).abs().max().item() < 1e-6",
    );
    // What does not take part may move, and a new graph is as good as the first.
    holds(
        "let v = variable(ones(2)); let w = variable(ones(2)); let l = (v * v).sum(); \
         sgd([w], #{lr: 1.0}).step(w.sum()); gradient(l, v).to_array() == [2.0, 2.0]",
    );
    holds(
        "let v = variable(ones(2)); let o = sgd([v], #{lr: 0.5}); o.step((v * v).sum()); o.step((v * v).sum()); \
         v.to_array() == [0.0, 0.0] || v.abs().max().item() < 1e-6",
    );
}

/// Rhai writes back what it read through a property and a subscript.
#[test]
fn a_look_at_a_part_is_no_write() {
    holds(
        r#"
        let g = m.gradients(ids, "post-mlp", |out| out.logits[[0, -1]].norm());
        let h = m.gradients(ids, "post-mlp", |out| out.logits[0].max(0)[2..4].sum());
        let v = variable(zeros([m.config.hidden_size]));
        let out = m.forward(ids, [hook("post-mlp", |x, ctx| x + v)]);
        let n = out.logits[[0, -1]].exp().sum();
        g.gradients.abs().max().item() > 0.0 && h.gradients.abs().max().item() > 0.0
            && gradient(n, v).abs().max().item() > 0.0
        "#,
    );
    holds(
        "let v = variable(ones(3)); let t = v * 1.0; for i in 0..25000 { t[[1]].item(); t[0..2].sum(); } \
         t[1] = t[0]; gradient(t.sum(), v).to_array() == [2.0, 0.0, 1.0]",
    );
}

/// A warning names the first point, on the way back, whose gradient is not finite.
#[test]
fn a_gradient_that_is_not_finite_is_said() {
    let script = format!(
        "{START} let sqrt = hook(\"post-mlp\", |x, ctx| (x * 0.0).sqrt() + x, #{{layers: 2}}); \
         m.gradients(ids, \"post-mlp\", |out| out.logits[[0, -1, 5]], [sqrt]); \
         let v = variable(zeros(2)); gradient(v.sqrt().sum(), v);"
    );
    let said = binary::script(&script).stderr;
    assert!(said.contains("the gradient has NaN, on its way back first at post-mlp@1"), "{said}");
    assert!(said.contains("the gradient of the variable [2] has an infinity\n"), "{said}");
    // Where it came to weights and variables from, at a point that nobody asked for.
    for back in [
        "gradient(loss.call(), t.variables.values());",
        "adam(t.variables).step(loss.call());",
        "let v = variable(zeros(m.config.hidden_size)); gradient(m.forward(ids, [hook(\"post-mlp@0\", |x, ctx| x + v), sqrt], #{loss: true}).loss, v);",
        "let back = hook(\"post-mlp@3\", |g, ctx| { g * 2.0 }, #{backward: true}); \
         gradient(t.model.forward(ids, [sqrt, back], #{loss: true}).loss, t.variables.values());",
        "gradient(t.model.forward(ids, [sqrt], #{loss: true, checkpoint: true}).loss, t.variables.values());",
    ] {
        let ran = binary::script(&format!(
            "{START} let sqrt = hook(\"post-mlp@2\", |x, ctx| (x * 0.0).sqrt() + x); let t = m.trainable(\"*.0.fc2.*\"); \
             let loss = || t.model.forward(ids, [sqrt], #{{loss: true}}).loss; {back}"
        ));
        assert_eq!(ran.code, Some(0), "{back} {}", ran.stderr);
        let said = "has NaN, on its way back first at post-attn@2";
        assert_eq!(ran.stderr.matches(said).count(), 1, "{back} {}", ran.stderr);
    }
}

/// candle goes back by recursion, which would end the program at the end of its stack.
#[test]
fn a_graph_that_is_too_deep_is_refused() {
    for round in ["s = s * 1.0;", "s[0] = 1.0;", "s += v;"] {
        let ran = binary::script(&format!(
            "let v = variable(ones(2)); let s = v * 1.0; \
             for i in 0..19000 {{ {round} }} print(gradient(s.sum(), v).shape); \
             for i in 0..19000 {{ {round} }}"
        ));
        assert_eq!(ran.stdout, "[2]\n", "{round}");
        assert!(
            ran.stderr.contains("20000 operations on tensors followed one another"),
            "{round} {}",
            ran.stderr
        );
        assert_eq!(ran.code, Some(1));
    }
}
