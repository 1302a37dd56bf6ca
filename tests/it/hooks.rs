//! What hooks and contexts do in scripts, through the binary on the demo models.

use crate::run::script;

/// Runs a script on demo:opt, with `m` the model and `ids` a prompt, and gives what it printed.
fn prints(body: &str) -> String {
    let ran = script(
        &format!(
            "let m = model(\"demo:opt\");\nlet ids = m.encode(\"When Mary and John went\");\n{body}"
        ),
        &[],
    );
    ran.ok().stdout()
}

/// Runs a script that is to fail, and gives what it wrote to standard error.
fn fails(body: &str) -> String {
    let ran = script(
        &format!(
            "let m = model(\"demo:opt\");\nlet ids = m.encode(\"When Mary and John went\");\n{body}"
        ),
        &[],
    );
    assert_eq!(ran.output.status.code(), Some(1), "{}", ran.stderr());
    ran.stderr()
}

#[test]
fn a_hook_may_use_the_model() {
    let out = prints(
        r#"
        let seen = [];
        let ctx = context([hook("post-mlp", |x, ctx| {
            seen.push(m.unembed(m.final_norm(x)).shape[2] == m.config.vocab_size);
        })]);
        m.forward(ids, ctx);
        print(seen.len == m.config.num_hidden_layers && false !in seen);
        "#,
    );
    assert_eq!(out, "true\n");
}

#[test]
fn a_hook_may_run_another_pass_but_not_with_its_own_context() {
    let out = prints(
        r#"
        let plain = m.forward(ids).logits;
        let inner = ();
        let ctx = context([hook("post-mlp", |x, ctx| { inner = m.forward(ids).logits; }, #{layers: 0})]);
        let outer = m.forward(ids, ctx).logits;
        print((inner == plain).all().item());
        print((outer == plain).all().item());
        "#,
    );
    assert_eq!(out, "true\ntrue\n");
    let error = fails(
        "let ctx = context([hook(\"post-mlp\", |x, ctx| { m.forward(ids, ctx); })]);\nm.forward(ids, ctx);",
    );
    assert!(error.contains("this context is serving a pass already"), "{error}");
}

#[test]
fn a_hook_may_change_a_captured_array() {
    let out = prints(
        r#"
        let layers = [];
        m.forward(ids, context([hook("pre-block", |x, ctx| { layers.push(ctx.layer); }, #{layers: 1..3})]));
        print(layers);
        "#,
    );
    assert_eq!(out, "[1, 2]\n");
}

#[test]
fn hooks_made_in_a_loop_see_the_variable_unless_they_take_its_value() {
    let out = prints(
        r#"
        let last_seen = [];
        let own = [];
        let hooks = [];
        for i in 0..3 {
            let c = i;
            hooks.push(hook("logits", |x, ctx| { own.push(c); }));
        }
        let last = 0;
        for i in 0..3 {
            last = i;
            hooks.push(hook("logits", |x, ctx| { last_seen.push(last); }));
        }
        m.forward(ids, context(hooks));
        print(own);
        print(last_seen);
        "#,
    );
    assert_eq!(out, "[0, 1, 2]\n[2, 2, 2]\n");
}

#[test]
fn what_a_hook_writes_into_x_counts_and_reaches_neither_the_weights_nor_earlier_tensors() {
    let out = prints(
        r#"
        let plain = m.forward(ids).logits;
        let kept = m.capture(ids, "post-mlp", #{layers: 0});
        let before = kept.copy();
        let ctx = context([hook("post-mlp", |x, ctx| { x[[.., -1]] = 0.0; }, #{layers: 0})]);
        let changed = m.forward(ids, ctx).logits;
        print((changed[[.., 0]] - plain[[.., 0]]).abs().max().item() < 0.0001);
        print((changed[[.., -1]] - plain[[.., -1]]).abs().max().item() > 0.01);
        print((kept == before).all().item());
        print((m.forward(ids).logits == plain).all().item());
        // The same with what the model gave away.
        let weight = m.weight("model.decoder.final_layer_norm.weight");
        weight[..] = 0.0;
        let stream = m.capture(ids, "post-final-layer-norm");
        stream[..] = 7.0;
        print((m.forward(ids).logits == plain).all().item());
        "#,
    );
    assert_eq!(out, "true\ntrue\ntrue\ntrue\ntrue\n");
}

#[test]
fn a_tensor_that_a_hook_returned_is_the_models_and_a_later_write_does_not_reach_it() {
    let out = prints(
        r#"
        let buffer = zeros([1, ids.shape[1], m.config.hidden_size]);
        let ctx = context([
            hook("attn-residual", |x, ctx| { buffer[..] = x; buffer }),
            hook("mlp-residual", |x, ctx| { buffer[..] = 1000.0; }),
        ]);
        let same = m.forward(ids, ctx).logits;
        print((same == m.forward(ids).logits).all().item());
        "#,
    );
    assert_eq!(out, "true\n");
}

#[test]
fn several_hooks_on_one_point_run_in_order_each_given_what_the_one_before_left() {
    let out = prints(
        r#"
        let seen = [];
        let ctx = context([
            hook("post-mlp", |x, ctx| { x * 0.0 + 1.0 }, #{layers: 0}),
            hook("post-mlp", |x, ctx| { seen.push(x.mean().item()); x[..] = 2.0; }, #{layers: 0}),
            hook("post-mlp", |x, ctx| { seen.push(x.mean().item()); () }, #{layers: 0}),
            hook("pre-block", |x, ctx| { seen.push(x.mean().item()); }, #{layers: 1}),
        ]);
        m.forward(ids, ctx);
        print(seen);
        "#,
    );
    assert_eq!(out, "[1.0, 2.0, 2.0]\n");
}

#[test]
fn a_replacement_is_cast() {
    let out = prints(
        r#"
        let ctx = context([
            hook("post-mlp", |x, ctx| x.to("f64"), #{layers: 0}),
            hook("attn-probs", |x, ctx| x > 0.5, #{layers: 1}),
        ]);
        print(m.forward(ids, ctx).logits.dtype);
        "#,
    );
    assert_eq!(out, "f32\n");
}

#[test]
fn a_hook_whose_script_has_ended_still_runs() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("made.rhai"),
        "fn half(x) { x * 0.5 }\nfn halving() { hook(\"post-mlp\", |x, ctx| half(x), #{layers: -1}) }",
    )
    .unwrap();
    std::fs::write(
        directory.path().join("script.rhai"),
        "import \"made\" as made;\nlet m = model(\"demo:opt\");\nlet ids = m.encode(\"When\");\n\
         let seen = m.capture(ids, \"post-mlp\", context([made::halving()]), #{layers: -1});\n\
         print((seen == m.capture(ids, \"post-mlp\", #{layers: -1}) * 0.5).all().item());",
    )
    .unwrap();
    let output = crate::run::precompute(directory.path())
        .args(["run", "script.rhai", "--out", "out"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "true\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn transformer_lens_names_bind_the_same_sites() {
    let out = prints(
        r#"
        let seen = [];
        let ctx = context([
            hook("blocks.1.hook_resid_post", |x, ctx| { seen.push(`${ctx.point} ${ctx.layer}`); }),
            hook("hook_embed", |x, ctx| { seen.push(ctx.point); seen.push("layer" in ctx); }),
            hook("blocks.0.attn.hook_q", |x, ctx| { seen.push(ctx.point); }),
        ]);
        m.forward(ids, ctx);
        print(seen);
        print((m.capture(ids, "blocks.1.hook_resid_post") == m.capture(ids, "post-mlp", #{layers: 1})).all().item());
        "#,
    );
    assert_eq!(out, "[\"post-tok-embeddings\", false, \"query-states\", \"post-mlp 1\"]\ntrue\n");
    // Where positions are rotary, TransformerLens calls queries so before they are rotated.
    let out = prints(
        r#"
        let m = model("demo:gpt-neox");
        let ids = m.encode("Mary and John");
        let seen = [];
        m.forward(ids, [hook(["blocks.0.attn.hook_q", "blocks.0.attn.hook_rot_k"], |x, ctx| { seen.push(ctx.point); })]);
        print(seen);
        print((m.capture(ids, "blocks.1.attn.hook_k") == m.capture(ids, "pre-key-states@1")).all().item());
        print(m.capture(ids, "blocks.0.attn.hook_*q").keys());
        print(m.forward(ids, #{stop: "blocks.2.attn.hook_q"}).stopped.shape);
        "#,
    );
    let shown =
        "[\"pre-query-states\", \"key-states\"]\ntrue\n[\"pre-query-states\", \"query-states\"]\n";
    assert!(out.starts_with(shown), "{out}");
}

#[test]
fn the_context_is_one_map_for_several_passes() {
    let out = prints(
        r#"
        let ctx = context([hook("post-mlp", |x, ctx| { ctx.count = ctx.get("count", 0) + 1; ctx.context["last"] = ctx.layer; })]);
        m.forward(ids, ctx);
        m.forward(ids, ctx);
        print(ctx.count == 2 * m.config.num_hidden_layers);
        print(ctx.keys());
        print("count" in ctx);
        print(ctx.remove("count") == 2 * m.config.num_hidden_layers);
        print("count" in ctx);
        print((ctx.ids == ids).all().item());
        print(ctx.mask.shape == ids.shape);
        print(ctx.config.hidden_size == m.config.hidden_size);
        print(ctx.ids.sum().item() == ids.sum().item());
        print("layer" in ctx);
        "#,
    );
    assert_eq!(
        out,
        "true\n[\"count\", \"last\"]\ntrue\ntrue\nfalse\ntrue\ntrue\ntrue\ntrue\nfalse\n"
    );
}

#[test]
fn a_hook_that_fails_stops_the_pass_and_leaves_everything_usable() {
    let out = prints(
        r#"
        let plain = m.forward(ids).logits;
        let ctx = context([hook("post-act", |x, ctx| { throw "enough"; }, #{layers: 1})]);
        let caught = "";
        try { m.forward(ids, ctx); } catch (e) { caught = e; }
        print(caught);
        print((m.forward(ids).logits == plain).all().item());
        try { m.forward(ids, ctx); } catch { print("again"); }
        "#,
    );
    assert_eq!(out, "enough\ntrue\nagain\n");
}

#[test]
fn faults_in_binding_and_returning_are_sentences() {
    let forward =
        |hook: &str| fails(&format!("m.forward(ids, context([{hook}]), #{{loss: true}});"));
    for (hook, sentence) in [
        ("hook(\"post-mpl\", |x, ctx| x)", "there is no hook point \"post-mpl\""),
        ("hook(\"post-mpl\", |x, ctx| x)", "did you mean post-mlp"),
        (
            "hook(\"post-mlp\", |x| x)",
            "a hook takes two parameters, x and ctx, and the closure at post-mlp takes 1",
        ),
        ("hook(\"post-mlp\", |x, ctx| x, #{layers: 9})", "there is no layer 9"),
        ("hook(\"post-mlp\", |x, ctx| x, #{layer: 0})", "hook has no option layer"),
        (
            "hook(\"post-mlp\", |x, ctx| x, #{layers: \"all\"})",
            "layers must be a layer, an array of them or a range",
        ),
        ("hook(\"logits\", |x, ctx| x, #{layers: 0})", "logits is not in a block"),
        (
            "hook(\"blocks.0.hook_resid_post\", |x, ctx| x, #{layers: 1})",
            "the name already says layer 0",
        ),
        ("hook(\"post-up\", |x, ctx| x)", "this opt model has no post-up"),
        ("hook(\"blocks.0.attn.hook_rot_q\", |x, ctx| x)", "opt has no rotary positions"),
        (
            "hook(\"pre-key-states\", |x, ctx| x)",
            "its queries and keys are neither normed nor rotated",
        ),
        (
            "hook(\"post-mlp\", |x, ctx| x[0], #{layers: 1})",
            "the hook at post-mlp, layer 1, must return a tensor",
        ),
        ("hook(\"post-mlp\", |x, ctx| 5)", "or nothing, and returned 5"),
        ("hook(\"attn-residual\", |x, ctx| fft(x))", "take .real first"),
        ("hook(\"post-mlp\", |x, ctx| { ctx.layer = 3; })", "ctx.layer belongs to the pass"),
        ("hook(\"post-mlp\", |x, ctx| { ctx.ids = x; })", "ctx.ids belongs to the pass"),
        (
            "hook(\"post-mlp\", |x, ctx| { ctx.kept = 1; ctx.kpt })",
            "the context has no key \"kpt\"",
        ),
        ("hook(\"logits\", |x, ctx| ctx.layer)", "there is no layer here"),
    ] {
        let error = forward(hook);
        assert!(error.contains(sentence), "{hook}:\n{error}\nlacks: {sentence}");
    }
}

#[test]
fn faults_in_a_pass_are_sentences() {
    for (call, sentence) in [
        ("m.forward(tensor([[1, 99999]]))", "token id 99999 at position 1 is out of range"),
        ("m.forward(tensor([[1, -1]]))", "-1 is no token id"),
        ("m.forward(tensor([1, 2]))", "token ids must be [b, n], not [2]"),
        ("m.forward(tensor([[1.5]]))", "token ids must be integers"),
        ("m.forward(zeros([1, 0]).to(\"i64\"))", "the prompt is empty"),
        ("m.encode(\"\", #{special: false})", "the prompt \"\" is empty"),
        (
            "m.forward(ones([1, 5000]).to(\"i64\"))",
            "the prompt has 5000 tokens, and the model has positions for",
        ),
        ("m.forward(ids, #{stop: \"post-mlp\"})", "every block has post-mlp; which one?"),
        ("m.forward(ids, #{stop: \"post-mlp@99\"})", "there is no layer 99"),
        ("m.forward(ids, #{logits: \"some\"})", "logits must be \"all\", \"last\" or \"none\""),
        ("m.forward(ids, #{losses: true})", "forward has no option losses"),
        ("m.forward(ids).loss", "this pass made no loss"),
        ("m.forward(ids).losses", "losses"),
        ("m.forward(ids, #{mask: ones([2, 2])})", "the mask is [2, 2]"),
        (
            "m.forward(ids, context([hook(\"unreduced-loss\", |x, ctx| x)]))",
            "only where a loss is asked for",
        ),
        (
            "m.forward(ids, context([hook(\"logits\", |x, ctx| x)]), #{stop: \"post-mlp@0\"})",
            "logits comes after post-mlp@0",
        ),
        ("m.weight(\"nothing\")", "nothing"),
        ("m.heads(99)", "there is no layer 99"),
        ("m.unembed(ones([3]))", "unembed reads the residual stream"),
        ("m.token_id(\" not one token\")", "not one token"),
        ("m.capture(ids, [])", "capture takes a point's name or an array of them"),
        ("m.capture(ids, \"post-mlp\", #{stop: \"pre-block@0\"})", "comes after pre-block@0"),
        ("context([1])", "context takes an array of hooks"),
    ] {
        let error = fails(&format!("{call};"));
        assert!(error.contains(sentence), "{call}:\n{error}\nlacks: {sentence}");
    }
}

#[test]
fn capture_stacks_layers_and_keeps_what_hooks_left() {
    let out = prints(
        r#"
        let l = m.config.num_hidden_layers;
        let d = m.config.hidden_size;
        let n = ids.shape[1];
        print(m.capture(ids, "post-mlp").shape == [l, 1, n, d]);
        print(m.capture(ids, "post-mlp", #{layers: 1}).shape == [1, n, d]);
        print(m.capture(ids, "post-mlp", #{layers: [2, 0]}).shape == [2, 1, n, d]);
        print((m.capture(ids, "post-mlp", #{layers: [2, 0]})[1] == m.capture(ids, "post-mlp")[0]).all().item());
        let several = m.capture(ids, ["post-mlp", "logits", "blocks.0.hook_resid_pre"]);
        print(several.keys());
        print(several.logits.shape == [1, n, m.config.vocab_size]);
        print(several["blocks.0.hook_resid_pre"].shape == [1, n, d]);
        let zero = context([hook("post-mlp", |x, ctx| { x[..] = 0.0; }, #{layers: 0})]);
        print(m.capture(ids, "post-mlp", zero)[0].abs().max().item());
        print(m.capture(ids, "unreduced-loss").shape == [1, n - 1]);
        print(m.capture(ids, "post-act", #{layers: 0, stop: "post-act@0"}).shape[2] == m.config.intermediate_size);
        "#,
    );
    assert_eq!(
        out,
        "true\ntrue\ntrue\ntrue\n[\"blocks.0.hook_resid_pre\", \"logits\", \"post-mlp\"]\ntrue\ntrue\n0.0\ntrue\ntrue\n"
    );
}

#[test]
fn a_padded_batch_carries_its_mask_and_the_side_makes_no_difference() {
    let out = prints(
        r#"
        let texts = ["When Mary and John went", "When Mary"];
        let right = m.encode(texts);
        let left = m.encode(texts, #{pad: "left"});
        let alone = m.encode(texts[1]);
        print(right.mask.to_array()[1] == [true, true, true] + [false, false, false] || right.mask.to("i64").sum().item() == ids.numel + alone.numel);
        let k = alone.shape[1];
        let expected = m.forward(alone).logits[0];
        print((m.forward(right).logits[[1, 0..k]] - expected).abs().max().item() < 0.0001);
        print((m.forward(left).logits[[1, -k..]] - expected).abs().max().item() < 0.0001);
        print((m.forward(left, #{logits: "last"}).logits[[1, 0]] - expected[-1]).abs().max().item() < 0.0001);
        print((m.forward(right, #{logits: "last"}).logits[[1, 0]] - expected[-1]).abs().max().item() < 0.0001);
        let a = m.forward(left, #{loss: true}).loss.item();
        let b = m.forward(right, #{loss: true}).loss.item();
        print((a - b).abs() < 0.00001);
        // Rows of a batch keep their part of the mask.
        print((m.forward(right[1..2]).logits[[0, 0..k]] - expected).abs().max().item() < 0.0001);
        "#,
    );
    assert_eq!(out, "true\ntrue\ntrue\ntrue\ntrue\ntrue\ntrue\n");
}

#[test]
fn text_and_tokens() {
    let out = prints(
        r#"
        let tokens = m.tokens("When Mary and John went");
        print(tokens.len == ids.shape[1]);
        print(m.decode(ids).contains("When Mary and John went"));
        print(m.decode(m.encode("When Mary", #{special: false})));
        print(m.decode(m.token_id(" Mary")));
        print(type_of(m.decode(m.encode(["When", "Then"]))));
        "#,
    );
    assert_eq!(out, "true\ntrue\nWhen Mary\n Mary\narray\n");
}
