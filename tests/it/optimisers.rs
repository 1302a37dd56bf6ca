//! Optimisers: PyTorch's steps, models that are trained by script, and what can't be a step.

use serde_json::Value as Json;

use crate::binary::{Workplace, script};
use crate::fixture::{CASES, directory};

/// A model with 128 variables that begin at sin(i), and the loss of tests/oracle/optimisers.py.
fn problem(dtype: &str) -> String {
    format!(
        r#"
        let name = "model.decoder.layers.0.fc2.bias";
        let i = arange(128).to("{dtype}");
        let t = model("demo:opt", #{{dtype: "{dtype}"}}).with_weights(#{{"model.decoder.layers.0.fc2.bias": |w| i.sin()}}).trainable(name);
        let w = t.variables[name];
        let loss = || ((1.0 + i % 3.0) * (w - i.cos()) ** 2.0 + (3.0 * w).sin()).sum();
        "#
    )
}

/// A JSON map as a script writes it.
fn map(json: &Json) -> String {
    format!("#{json}")
}

#[test]
fn steps_are_torchs() {
    let path = directory("optimisers.json");
    let goldens: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for (dtype, tolerance) in [("f64", 1e-12), ("f32", 1e-6)] {
        let cases = goldens["cases"].as_array().unwrap();
        assert!(cases.len() >= 8);
        for case in cases {
            let (call, options) = (case["call"].as_str().unwrap(), map(&case["options"]));
            let after = case["after"].as_object().unwrap();
            let ran = script(&format!(
                "{}\nlet o = {call}(w, {options});\n\
                 for step in 1..=20 {{ o.step(loss.call()); if step in [1, 2, 5, 20] {{ print(w[0..8].to(\"f64\").to_array()); }} }}",
                problem(dtype)
            ));
            assert_eq!(ran.code, Some(0), "{call} {options}: {}", ran.stderr);
            let got: Vec<Vec<f64>> =
                ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            for (step, got) in ["1", "2", "5", "20"].iter().zip(&got) {
                let expected: Vec<f64> = serde_json::from_value(after[*step].clone()).unwrap();
                for (got, expected) in got.iter().zip(expected) {
                    assert!(
                        (got - expected).abs() <= tolerance,
                        "{dtype} {call} {options}: {got} after step {step}, and torch has {expected}"
                    );
                }
            }
            assert_eq!(got.len(), 4);
        }
    }
}

#[test]
fn training_lowers_the_loss_of_every_family() {
    let ids = CASES.iter().map(|case| directory(case).display().to_string());
    for id in ids.chain(["demo:opt".into(), "demo:gpt-neox".into()]) {
        let here = Workplace::new(&[(
            "s.rhai",
            r#"
            let m = model(param("model", "demo:opt"));
            let ids = m.encode("When Mary and John went to the store, Mary gave a drink to John.");
            let before = m.forward(ids, #{loss: true});
            let t = m.trainable("*");
            let o = adam(t.variables, #{lr: 2e-3, clip: 1.0});
            for step in 0..20 { o.step(t.model.forward(ids, #{loss: true}).loss); }
            let after = t.model.forward(ids, #{loss: true});
            print(after.loss.item() < 0.9 * before.loss.item());
            let n = model(t.model.save("trained"));
            print((n.forward(ids).logits - after.logits.detach()).abs().max().item() < 1e-3);
            print((m.forward(ids).logits - before.logits).abs().max().item());
            "#,
        )]);
        let ran = here.run(&["run", "s.rhai", "--set", &format!("model={id}"), "--out", "out"]);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(0), "true\ntrue\n0.0\n"),
            "{id}: {}",
            ran.stderr
        );
    }
}

#[test]
fn a_step_changes_the_model_and_nothing_that_was_made_before() {
    for (body, expected) in [
        (
            r#"let m = model("demo:opt"); let ids = m.encode("When Mary went"); let t = m.trainable("*.0.fc2.*");
            let out = t.model.mlp(0).w_out; let kept = out.detach(); let b = t.model.weight("model.decoder.layers.0.fc2.bias");
            let logits = t.model.forward(ids).logits; let was = logits.detach();
            let o = sgd(t.variables, #{lr: 1.0}); let first = o.step(t.model.forward(ids, #{loss: true}).loss);
            [(out.detach() - kept).abs().max().item(), (t.model.mlp(0).w_out.detach() - kept).abs().max().item() > 0.0,
             (t.model.forward(ids).logits.detach() - was).abs().max().item() > 0.0, (m.mlp(0).w_out - kept).abs().max().item(),
             (t.model.weight("model.decoder.layers.0.fc2.bias").detach() - b.detach()).abs().max().item(), first == m.forward(ids, #{loss: true}).loss.item()]"#,
            "[0.0, true, true, 0.0, 0.0, true]",
        ),
        // The master weights of a half model are float32.
        (
            r#"let m = model("demo:opt", #{dtype: "bf16"}); let ids = m.encode("When Mary and John went to the store");
            let t = m.trainable("*.fc2.*"); let o = adamw(t.variables, #{lr: 1e-3});
            let first = o.step(t.model.forward(ids, #{loss: true}).loss); let last = 0.0;
            for i in 0..10 { last = o.step(t.model.forward(ids, #{loss: true}).loss); }
            [t.variables.values()[0].dtype, last < first]"#,
            r#"["f32", true]"#,
        ),
        (
            r#"let m = model("demo:opt"); let t = m.trainable("*.0.fc2.*"); let o = adam([t.variables], #{lr: 0.5});
            o.lr *= 0.5; let p = o; p.lr /= 5; [o.lr, `${o}`]"#,
            r#"[0.05, "adam of 2 variables, 0 steps taken, lr 0.05"]"#,
        ),
    ] {
        let ran = script(body);
        assert_eq!(
            (ran.code, ran.stdout.trim_end()),
            (Some(0), expected),
            "{body}\n{}",
            ran.stderr
        );
    }
}

/// Each says its sentence.
#[test]
fn what_can_not_be_a_step_is_said() {
    let start = r#"let m = model("demo:opt"); let ids = m.encode("When Mary went"); let t = m.trainable("*.1.fc2.*"); let v = t.variables;
        let loss = || t.model.forward(ids, #{loss: true}).loss;"#;
    for (body, said) in [
        ("adam(3)", "adam moves variables, and it is 3"),
        ("adam([])", "adam got no variables to move"),
        ("adam(#{a: zeros([2])})", "\"a\" is a tensor [2] of f32 that is none"),
        (
            "let b = v[\"model.decoder.layers.1.fc2.bias\"]; sgd([b, b])",
            "sgd got one variable twice, as \"1\" and as \"0\"",
        ),
        ("adam([v, v])", "adam got one variable twice, as \"1.model.decoder.layers.1.fc2.bias\""),
        ("adam(v, #{eps: 0})", "adam: eps must be above 0, in float32 too, not 0"),
        ("adam(v, #{eps: 1e-60})", "adam: eps must be above 0, in float32 too, not "),
        ("m.trainable([])", "trainable got no patterns"),
        ("m.trainable(\"*.fc3.*\")", "fc3"),
        ("adam(v, #{learning_rate: 1})", "lr is what learning_rate is elsewhere"),
        ("adam(v, #{lr: -1})", "adam: lr must be a number of at least 0, not -1"),
        ("adam(v, #{lr: \"x\"})", "lr must be a number"),
        ("adam(v, #{betas: [1, 2]})", "betas must be two numbers of at least 0 and below 1"),
        ("adam(v, #{betas: 0.9})", "betas must be two numbers"),
        ("adamw(v, #{eps: -1})", "adamw: eps must be above 0"),
        ("sgd(v, #{momentum: 1.0})", "sgd: momentum must be at least 0 and below 1"),
        ("sgd(v, #{clip: 0})", "sgd: clip must be a number above 0"),
        ("sgd(v, #{betas: [0, 0]})", "sgd has no option betas"),
        ("let o = sgd(v); o.lr = \"x\"", "lr must be a number, not the string"),
        ("let o = sgd(v); o.lr = nan", "lr must be a number of at least 0, not NaN"),
        ("sgd(v).step(t.model.forward(ids).logits)", "a loss of one number, and not from [1, "),
        (
            "sgd(v).step(m.forward(ids, #{loss: true}).loss)",
            "the loss depends on nothing whose gradient is kept",
        ),
        ("sgd(v).step(loss.call() * nan)", "the loss is NaN"),
        (
            "sgd(v).step(t.model.capture(ids, \"post-mlp\", #{layers: 0}).sum() + v[\"model.decoder.layers.1.fc2.bias\"].sum())",
            "the loss does not depend on the variable \"model.decoder.layers.1.fc2.weight\" of sgd",
        ),
    ] {
        let ran = script(&format!("{start}\n{body}"));
        assert!(
            ran.code == Some(1) && ran.stderr.contains(said),
            "{body}\n{}\n{}",
            ran.stdout,
            ran.stderr
        );
    }
    // The loss is a number, and its gradient is not: 0 times the square root's slope at 0.
    let ran = script(&format!(
        "{start}\nlet b = v[\"model.decoder.layers.1.fc2.bias\"]; let o = sgd(#{{b: b}}); let was = b.detach(); \
         o.step(((b - was) * 0.0).sqrt().sum()); print((b - was).abs().max().item());"
    ));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "0.0\n"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("warning: the gradient of \"b\" has NaN: sgd takes no step"),
        "{}",
        ran.stderr
    );
}

/// A run that is broken off and goes on from what it saved takes the steps of one that is not, to the last bit.
#[test]
fn a_state_that_was_saved_goes_on() {
    for call in [
        "adam(v, #{lr: 0.1, clip: 1.0})",
        "adamw(v, #{lr: 0.1})",
        "sgd(v, #{lr: 0.1, momentum: 0.9})",
        "sgd(v, #{lr: 0.1})",
    ] {
        for dtype in ["f32", "f64"] {
            let start = format!(
                "let make = |from| #{{a: variable(from.a), deep: [variable(from.b)]}};\n\
                 let train = |v, o, steps| {{ for i in 0..steps {{ o.step(((v.a - 1.0) ** 2.0).sum() + (v.deep[0] * v.a.sin()).sum()); }} }};\n\
                 let optimiser = |v| {call};\n\
                 let first = #{{a: arange(7).to(\"{dtype}\"), b: arange(7).to(\"{dtype}\").cos()}};\n"
            );
            let here = Workplace::new(&[]);
            let save = format!(
                "{start}let v = make.call(first); let o = optimiser.call(v); save(\"fresh\", o.state); train.call(v, o, 3);\n\
                 save(\"state\", o.state); save(\"variables\", #{{a: v.a, b: v.deep[0]}});\n\
                 train.call(v, o, 4); print(v.a.to_array()); print(v.deep[0].to_array()); print(`${{o}}`);"
            );
            here.write("save.rhai", save.as_bytes());
            let whole = here.run(&["run", "save.rhai", "--out", "out"]);
            assert_eq!(whole.code, Some(0), "{call}: {}", whole.stderr);
            let go_on = format!(
                "{start}let v = make.call(load_tensors(\"out/variables.safetensors\")); let o = optimiser.call(v);\n\
                 o.state = load_tensors(\"out/fresh.safetensors\"); o.state = load_tensors(\"out/state.safetensors\");\n\
                 train.call(v, o, 4); print(v.a.to_array()); print(v.deep[0].to_array()); print(`${{o}}`);"
            );
            here.write("go_on.rhai", go_on.as_bytes());
            let rest = here.run(&["run", "go_on.rhai"]);
            assert_eq!(
                (rest.code, &rest.stdout),
                (Some(0), &whole.stdout),
                "{call} {dtype}: {}",
                rest.stderr
            );
            assert!(rest.stdout.contains("7 steps taken"), "{}", rest.stdout);
        }
    }
}

/// Each says its sentence, and changes nothing.
#[test]
fn a_state_that_does_not_fit_is_refused() {
    let start = "let v = #{a: variable(zeros([2])), b: variable(zeros([3]))}; let o = adam(v);\n\
        let loss = || (v.a - 1.0).sum() + (v.b - 1.0).sum(); o.step(loss.call()); let s = o.state;\n";
    for (body, said) in [
        ("o.state = 3;", "the state of an optimiser is a map of tensors, and not 3"),
        ("s.step = 3; o.state = s;", "and not one in which \"step\" is 3"),
        ("s.remove(\"step\"); o.state = s;", "the state has no \"step\""),
        ("s.step = tensor(-1); o.state = s;", "\"step\" must be one whole number of at least 0"),
        ("s.step = tensor(1.0); o.state = s;", "\"step\" must be one whole number of at least 0"),
        (
            "s.remove(\"b.exp_avg\"); o.state = s;",
            "the state has no \"b.exp_avg\", which this adam needs",
        ),
        (
            "s.c = zeros([2]); o.state = s;",
            "the state has \"c\", which is nothing that this adam keeps",
        ),
        ("s.step = tensor(0); o.state = s;", "the state has \"a.exp_avg\""),
        (
            "s[\"b.exp_avg_sq\"] = zeros([2]); o.state = s;",
            "\"b.exp_avg_sq\" is [2] of f32, and the variable is [3] of f32",
        ),
        (
            "s[\"b.exp_avg_sq\"] = zeros([3]).to(\"f64\"); o.state = s;",
            "is [3] of f64, and the variable is [3] of f32",
        ),
        (
            "let p = sgd(v, #{momentum: 0.9}); p.state = s;",
            "the state has no \"a.momentum_buffer\", which this sgd needs",
        ),
        ("let p = sgd(v); p.state = s;", "which is nothing that this sgd keeps"),
    ] {
        let ran = script(&format!("{start}{body}"));
        assert!(
            ran.code == Some(1) && ran.stderr.contains(said),
            "{body}\n{}\n{}",
            ran.stdout,
            ran.stderr
        );
        let ran = script(&format!(
            "{start}try {{ {body} }} catch {{}} print(`${{o}}`); print(o.state[\"b.exp_avg\"].shape);"
        ));
        assert!(
            ran.stdout.contains("1 steps taken") && ran.stdout.contains("[3]"),
            "{body}\n{}",
            ran.stdout
        );
    }
}

#[test]
fn schedules_rise_and_fall() {
    for (body, expected) in [
        (
            "[0, 2, 4, 8, 12].map(|s| train::linear(s, 12, #{lr: 1.0, warmup: 4}))",
            "[0.0, 0.5, 1.0, 0.5, 0.0]",
        ),
        ("[0, 5, 10].map(|s| train::linear(s, 10, #{lr: 2.0}))", "[2.0, 1.0, 0.0]"),
        (
            "[0, 2, 4, 12].map(|s| train::cosine(s, 12, #{lr: 1.0, warmup: 4}))",
            "[0.0, 0.5, 1.0, 0.0]",
        ),
        ("(train::cosine(2, 6, #{lr: 4.0}) - 3.0).abs() < 1e-12", "true"),
        ("train::cosine(3, 3, #{lr: 4.0, warmup: 3})", "4.0"),
    ] {
        let ran = script(&format!("import \"lib/train\" as train;\n{body}"));
        assert_eq!(
            (ran.code, ran.stdout.trim_end()),
            (Some(0), expected),
            "{body}\n{}",
            ran.stderr
        );
    }
    for (body, said) in [
        ("train::cosine(3, 2, #{lr: 1.0})", "step must be from 0 to 2, and not 3"),
        ("train::cosine(1, 2, #{warmup: 1})", "needs the highest learning rate"),
        ("train::linear(1, 2, #{lr: 1.0, warmup: 3})", "warmup must be from 0 to all 2 steps"),
        ("train::linear(1, 2, #{lr: 1.0, warm: 3})", "a schedule has no option warm"),
    ] {
        let ran = script(&format!("import \"lib/train\" as train;\n{body}"));
        assert!(ran.code == Some(1) && ran.stderr.contains(said), "{body}\n{}", ran.stderr);
    }
}
