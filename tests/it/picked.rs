//! Hooks at some tokens alone, and at several points: `positions`, `steps`, arrays and patterns.

use precompute::script::{Host, Settings};
use rhai::Dynamic;

use crate::fixture::{CASES, directory};

/// Before each script: a model, prompts of several lengths, and a direction to steer in.
fn before(model: &str) -> String {
    format!(
        "let m = model({model:?});\n\
         let ids = tensor([[5, 1, 7, 3, 2, 9]]);\n\
         let d = m.config.hidden_size;\n\
         let v = (arange(d).to(\"f32\") * 0.7).sin() * 3.0;\n\
         fn padded(left) {{\n\
             let ids = if left {{ tensor([[5, 1, 7, 3, 2, 9], [0, 0, 0, 4, 8, 6]]) }} else {{ tensor([[5, 1, 7, 3, 2, 9], [4, 8, 6, 0, 0, 0]]) }};\n\
             let mask = if left {{ tensor([[1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1]]) }} else {{ tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]) }};\n\
             [ids, mask]\n\
         }}\n"
    )
}

fn host() -> Host {
    Host::new(Settings::default()).unwrap()
}

#[track_caller]
fn eval(host: &Host, model: &str, script: &str) -> Dynamic {
    host.eval(&format!("{}{script}", before(model)))
        .unwrap_or_else(|failure| panic!("{script}\n{failure}"))
}

#[track_caller]
fn holds(host: &Host, model: &str, script: &str) {
    let value = eval(host, model, script);
    assert_eq!(value.as_bool(), Ok(true), "{model}: {script}");
}

fn demo(script: &str) {
    holds(&host(), "demo:opt", script);
}

#[test]
fn steering_gives_the_same_tokens_with_a_cache_and_without_in_every_family() {
    let host = host();
    let picks = [
        "#{positions: -1}",
        "#{positions: 2..}",
        "#{positions: [0, 3]}",
        "#{positions: 1..4, steps: 0}",
        "#{steps: 0}",
        "#{steps: 1..}",
        "#{steps: [1, 3]}",
        "#{positions: -1, steps: [0, 2]}",
        "#{positions: 7}",
    ];
    let mut moved = 0;
    for (at, case) in CASES.iter().enumerate() {
        let model = directory(case).display().to_string();
        for by in 0..2 {
            let pick = picks[(at * 2 + by) % picks.len()];
            let point = [
                "post-mlp",
                "attn-residual",
                "value-states",
                "attn-weighted-values",
                "key-states",
                "pre-mlp",
            ][(at + by) % 6];
            let script = format!(
                "let by = |x, ctx| {{ let c = x.shape[-1]; x + v[0..c.min(d)].sum() * 0.01 + (arange(c) % 3).to(\"f32\") * 2.0 }};\n\
                 let texts = [];\n\
                 for cache in [true, false] {{\n\
                     let options = #{{max_new_tokens: 5, cache: cache}};\n\
                     texts.push(m.generate(ids, [hook(\"{point}\", by, {pick})], options).ids.to_array());\n\
                     for left in [true, false] {{\n\
                         let batch = padded(left); options.mask = batch[1];\n\
                         let out = m.generate(batch[0], [hook(\"{point}\", by, {pick})], options);\n\
                         texts.push([out.ids[0][6..].to_array(), out.ids[1][6..].to_array()]);\n\
                     }}\n\
                 }}\n\
                 let plain = m.generate(ids, #{{max_new_tokens: 5}}).ids.to_array();\n\
                 [texts[0] == texts[3] && texts[1] == texts[4] && texts[2] == texts[5] && texts[1] == texts[2], texts[0] != plain]"
            );
            let both = eval(&host, &model, &script).cast::<rhai::Array>();
            assert_eq!(both[0].as_bool(), Ok(true), "{case}: {point}, {pick}");
            moved += usize::from(both[1].as_bool() == Ok(true));
        }
    }
    assert!(moved > CASES.len() / 2, "steering changed the tokens of {moved} alone");
}

#[test]
fn a_hook_is_given_the_tokens_it_picks_and_what_it_leaves_is_put_in_their_places() {
    for (pick, part, count) in [
        ("#{positions: -1}", "-1", 1),
        ("#{positions: [0, 3]}", "[0, 3]", 2),
        ("#{positions: 2..}", "2..", 4),
        ("#{positions: 1..4}", "1..4", 3),
        ("#{positions: [-2, 1]}", "[1, 4]", 2),
        ("#{steps: 0}", "..", 6),
    ] {
        for (point, dim) in [
            ("post-mlp", 1),
            ("pre-attn", 1),
            ("query-states", 2),
            ("key-states", 2),
            ("attn-probs", 2),
            ("pre-mask-attn-weights", 2),
            ("attn-norm-scale", 1),
            ("logits", 1),
        ] {
            let index = match dim {
                1 => format!("[.., {part}]"),
                _ => format!("[.., .., {part}]"),
            };
            demo(&format!(
                "let shape = ();\n\
                 let picked = m.forward(ids, [hook(\"{point}\", |x, ctx| {{ shape = x.shape; x * 0.5 }}, {pick})]).logits;\n\
                 let in_place = m.forward(ids, [hook(\"{point}\", |x, ctx| {{ x *= 0.5; }}, {pick})]).logits;\n\
                 let by_hand = m.forward(ids, [hook(\"{point}\", |x, ctx| {{ x[{index}] *= 0.5; }})]).logits;\n\
                 (picked - by_hand).abs().max().item() < 1e-5 && (in_place == picked).all().item() && shape[{dim}] == {count}\n\
                 && (picked - m.forward(ids).logits).abs().max().item() > 1e-4"
            ));
        }
    }
}

#[test]
fn rows_of_a_padded_batch_are_what_the_texts_alone_give() {
    for pick in [
        "#{positions: -1}",
        "#{positions: 1..}",
        "#{positions: [0, 2]}",
        "#{positions: 4}",
        "#{steps: 0}",
    ] {
        demo(&format!(
            "let same = true;\n\
             for left in [true, false] {{\n\
                 let batch = padded(left);\n\
                 let h = hook(\"post-mlp\", |x, ctx| x + v, {pick});\n\
                 let all = m.forward(batch[0], [h], #{{mask: batch[1]}}).logits;\n\
                 let first = m.forward(ids, [h]).logits[0];\n\
                 let place = if left {{ 3..6 }} else {{ 0..3 }};\n\
                 same = same && (all[0] - first).abs().max().item() < 1e-4;\n\
                 if {} {{\n\
                     let second = m.forward(tensor([[4, 8, 6]]), [h]).logits[0];\n\
                     same = same && (all[[1, place]] - second).abs().max().item() < 1e-4;\n\
                 }}\n\
             }}\n\
             same",
            !pick.contains('4')
        ));
    }
}

#[test]
fn the_context_says_which_tokens_x_shows() {
    demo(
        r#"
        let seen = [];
        let look = |x, ctx| { seen.push([x.shape[1], ctx.positions.to_array(), ctx.ids.to_array(), ctx.mask.to_array(), ctx.all_ids.shape, ctx.prompt_len, ctx.step]); };
        let batch = padded(true);
        m.forward(batch[0], [hook("post-mlp", look, #{layers: 0, positions: 2..}), hook("post-mlp", |x, ctx| { seen.push(ctx.ids.shape); }, #{layers: 0})], #{mask: batch[1]});
        seen == [
            [4, [[2, 3, 4, 5], [2, 2, 2, 2]], [[7, 3, 2, 9], [6, 6, 6, 6]], [[true, true, true, true], [true, false, false, false]], [2, 6], 6, 0],
            [2, 6]
        ]
        "#,
    );
    demo(
        r#"
        let seen = [];
        let look = |x, ctx| { seen.push([x.shape[1], ctx.positions.to_array()[0], ctx.all_ids.shape[1], ctx.all_ids.mask.sum().item(), ctx.prompt_len, ctx.step]); };
        for cache in [true, false] { m.generate(ids, [hook("post-mlp", look, #{layers: 0, positions: -1})], #{max_new_tokens: 3, cache: cache}); }
        seen == [
            [1, [5], 6, 6, 6, 0], [1, [6], 7, 7, 6, 1], [1, [7], 8, 8, 6, 2],
            [1, [5], 6, 6, 6, 0], [2, [5, 6], 7, 7, 6, 1], [3, [5, 6, 7], 8, 8, 6, 2]
        ]
        "#,
    );
    demo(
        "let at = (); m.forward(ids, [hook(\"logits\", |x, ctx| { at = ctx.step; })]); at == 0 && context().step == 0",
    );
}

#[test]
fn passes_with_such_hooks_are_taken_up_where_earlier_ones_stood() {
    demo(
        r#"
        let run = |p| m.forward(ids, [hook("post-mlp", |x, ctx| x + v, #{layers: 0, positions: p})]).logits;
        let first = run.call(1); let other = run.call(2); let again = run.call(1);
        (first == again).all().item() && (first - other).abs().max().item() > 1e-4
        "#,
    );
}

#[test]
fn several_points_and_patterns() {
    demo(
        r#"
        let at = [];
        m.forward(ids, [hook(["pre-block", "blocks.1.hook_resid_post", "hook_embed"], |x, ctx| { at.push(`${ctx.point} ${ctx.get("layer", -1)}`); })]);
        at == ["post-tok-embeddings -1", "pre-block 0", "pre-block 1", "post-mlp 1", "pre-block 2", "pre-block 3"]
        "#,
    );
    demo(
        r#"
        let at = [];
        m.forward(ids, [hook("attn-*", |x, ctx| { at.push(ctx.point); }, #{layers: 2})]);
        at.sort() == ["attn-head-outputs", "attn-norm-scale", "attn-probs", "attn-residual", "attn-weighted-values"]
        "#,
    );
    // Points that a family or a pass does not have are left out of a pattern; what is named is an
    // error.
    demo(
        r#"
        let at = [];
        m.forward(ids, [hook(["post-*", "blocks.*.hook_resid_mid"], |x, ctx| { if ctx.point !in at { at.push(ctx.point); } }, #{layers: [0]})], #{logits: "none"});
        "post-up" !in at && "post-act" in at && "post-attn" in at && "post-final-layer-norm" !in at
        "#,
    );
    demo(
        r#"
        let kept = m.capture(ids, "attn-*");
        let stopped = m.capture(ids, "*-mlp", #{stop: "pre-mlp@1"});
        let one = m.capture(ids, "*-mlp", #{layers: 1});
        let tl = m.capture(ids, "blocks.*.hook_resid_*", #{layers: 0..2});
        kept.keys().len() == 5 && kept["attn-probs"].shape == [4, 1, m.config.num_attention_heads, 6, 6]
        && stopped["pre-mlp"].shape[0] == 2 && stopped["post-mlp"].shape[0] == 1
        && one.keys() == ["post-mlp", "pre-mlp"] && one["pre-mlp"].shape == [1, 6, d]
        && tl.keys() == ["post-attn", "post-mlp", "pre-block"] && tl["pre-block"].shape[0] == 2
        "#,
    );
}

#[test]
fn a_capture_without_points_keeps_what_a_pass_makes_anyway() {
    demo(
        r#"
        let kept = m.capture(ids);
        let some = m.capture(ids, #{layers: -1});
        let zero = m.capture(ids, [hook("post-mlp", |x, ctx| x * 0.0, #{layers: 0})]);
        let all = true;
        for name in kept.keys() { all = all && (kept[name] == m.capture(ids, name)).all().item(); }
        all && "attn-probs" !in kept && "attn-norm-scale" !in kept && "attn-head-outputs" !in kept && "unreduced-loss" !in kept
        && "logits" in kept && "query-states" in kept && "post-act" in kept
        && some["post-mlp"].shape == [1, 6, d] && some.logits.rank == 3
        && zero["post-mlp"][0].abs().max().item() == 0.0
        "#,
    );
}

#[test]
fn an_array_of_hooks_is_a_context() {
    demo(
        r#"
        let h = hook("post-mlp", |x, ctx| x * 0.0, #{layers: 0});
        let ctx = context([h]);
        (m.forward(ids, [h]).logits == m.forward(ids, ctx).logits).all().item()
        && m.forward(ids, [h], #{logits: "last"}).logits.shape[1] == 1
        && (m.capture(ids, "post-mlp", [h]) == m.capture(ids, "post-mlp", ctx)).all().item()
        && m.capture(ids, "post-mlp", [h], #{layers: 0}).rank == 3
        && m.generate(ids, [h]).ids.to_array() == m.generate(ids, ctx).ids.to_array()
        && m.generate(ids, [h], #{max_new_tokens: 2}).ids.shape[1] == 8
        && (m.forward(ids, []).logits == m.forward(ids).logits).all().item()
        "#,
    );
}

#[test]
fn a_hook_prints_as_one_writes_it() {
    let host = host();
    for text in [
        "hook(\"post-mlp\", |x, ctx| …)",
        "hook(\"post-mlp\", |x, ctx| …, #{layers: 2})",
        "hook(\"post-mlp\", |x, ctx| …, #{layers: [0, 2]})",
        "hook(\"post-mlp\", |x, ctx| …, #{layers: 4..8, positions: -1, steps: 1..})",
        "hook([\"post-mlp\", \"attn-*\"], |t, c| …)",
        "hook(\"blocks.3.hook_resid_post\", halved, #{positions: 2..})",
    ] {
        let code = text.replace('…', "0");
        let script =
            format!("fn halved(x, ctx) {{ x * 0.5 }}\nlet h = {code}; [h.to_string(), `${{[h]}}`]");
        let shown = host.eval(&script).unwrap().cast::<rhai::Array>();
        assert_eq!(shown[0].to_string(), text);
        assert_eq!(shown[1].to_string(), format!("[{text}]"));
    }
}

#[test]
fn what_can_not_be_is_a_sentence() {
    let host = host();
    for (code, said, help) in [
        ("hook(\"attn_*\", |x, ctx| x)", "\"attn_*\" fits no hook point", "attn-probs"),
        (
            "hook([\"post-mlp\", \"post-mpl\"], |x, ctx| x)",
            "there is no hook point \"post-mpl\"",
            "post-mlp",
        ),
        (
            "hook([], |x, ctx| x)",
            "hook takes a point's name or an array of them, not an array of 0",
            "",
        ),
        ("hook([1], |x, ctx| x)", "hook takes a point's name or an array of them", ""),
        ("hook(\"logits\", |x, ctx| x, #{layers: 1})", "logits is not in a block", ""),
        (
            "hook(\"log*\", |x, ctx| x, #{layers: 1})",
            "fits no hook point to which these options apply",
            "",
        ),
        (
            "hook(\"unreduced-loss\", |x, ctx| x, #{positions: 1})",
            "unreduced-loss has no dim of tokens",
            "",
        ),
        (
            "hook(\"post-mlp\", |x, ctx| x, #{positions: \"last\"})",
            "positions must be a position",
            "#{positions: -1}",
        ),
        ("hook(\"post-mlp\", |x, ctx| x, #{steps: 1.5})", "steps must be a step", "#{steps: 1..}"),
        (
            "hook(\"post-mlp\", |x, ctx| x, #{positions: []})",
            "positions is an empty array: the hook would never run",
            "",
        ),
        (
            "hook(\"post-mlp\", |x, ctx| x, #{position: 1})",
            "hook has no option position",
            "positions",
        ),
        (
            "m.forward(ids, [hook(\"post-mlp\", |x, ctx| x, #{positions: 6})])",
            "there is no position 6: the text has 6 tokens",
            "0 to 5",
        ),
        (
            "m.forward(ids, [hook(\"post-mlp\", |x, ctx| x, #{positions: -7})])",
            "there is no position -7",
            "",
        ),
        (
            "m.forward(ids, [hook(\"post-mlp\", |x, ctx| x, #{positions: 9..})])",
            "none of the positions asked for",
            "",
        ),
        (
            "m.forward(ids, [hook(\"post-mlp\", |x, ctx| x, #{steps: 1..})])",
            "a pass of its own is step 0",
            "generate",
        ),
        (
            "m.capture(ids, \"post-mlp\", [hook(\"post-mlp\", |x, ctx| x, #{steps: 1})])",
            "there is no step 1",
            "",
        ),
        (
            "m.generate(ids, [hook(\"post-mlp\", |x, ctx| x, #{positions: 8})], #{max_new_tokens: 3})",
            "there is no position 8",
            "0 to 7",
        ),
        (
            "m.generate(ids, [hook(\"post-mlp\", |x, ctx| x, #{steps: 3})], #{max_new_tokens: 3})",
            "there is no step 3: there are 3, 0 to 2",
            "",
        ),
        (
            "m.forward(ids, [hook(\"post-mlp\", |x, ctx| x[0], #{positions: 1, layers: 2})])",
            "the hook at post-mlp, layer 2, must return a tensor [1, 1, 128]",
            "",
        ),
        (
            "m.forward(ids, [hook([\"post-mlp\", \"pre-mlp\"], |x, ctx| 5)])",
            "the hook at pre-mlp, layer 0, must return a tensor",
            "",
        ),
        (
            "m.forward(ids, [1])",
            "forward takes an array of hooks, and one of its elements is 1",
            "",
        ),
        (
            "m.generate(ids, [|x, ctx| x])",
            "generate takes an array of hooks, and one of its elements is a function",
            "",
        ),
        ("m.capture(ids, \"post-up*\")", "this opt model has no such point", ""),
        (
            "m.forward(ids, [hook(\"post-up*\", |x, ctx| x)])",
            "this opt model has no such point",
            "",
        ),
        (
            "m.forward(ids, [hook(\"post-mlp\", |x, ctx| { ctx.prompt_len = 1; })])",
            "ctx.prompt_len belongs to the pass",
            "",
        ),
        (
            "m.generate(ids, [hook(\"post-mlp\", |x, ctx| { x[[.., 3]] = 0.0; })])",
            "index 3 is out of range for dim 1 of a tensor [1, 1, 128]: this step of generate sees one position",
            "#{positions: 3}",
        ),
        (
            "m.generate(ids, [hook(\"attn-probs\", |x, ctx| { x[[0, 0, 2, 1]]; x })])",
            "sees one position",
            "cache: false",
        ),
    ] {
        let Err(failure) = host.eval(&format!("{}{code}", before("demo:opt"))) else {
            panic!("{code} is taken")
        };
        let failure = failure.to_string();
        assert!(
            failure.contains(said) && failure.contains(help),
            "{code}\n{failure}\nlacks: {said}"
        );
        assert!(failure.contains("input:"), "{code}\n{failure}");
    }
    // Without a cache there is a position 3.
    let _ = eval(
        &host,
        "demo:opt",
        "m.generate(ids, [hook(\"post-mlp\", |x, ctx| { x[[.., 3]] = 0.0; })], #{cache: false, max_new_tokens: 2})",
    );
}
