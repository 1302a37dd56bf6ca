//! Options that take a range: an empty one is an error wherever it is given.

#[test]
fn an_empty_range_is_the_same_error_everywhere() {
    let script = r#"
        let m = model("demo:opt");
        let ids = m.encode("Mary and John");
        let calls = [
            |r| hook("post-mlp", |x, ctx| x, #{layers: r}),
            |r| hook("post-mlp", |x, ctx| x, #{positions: r}),
            |r| hook("post-mlp", |x, ctx| x, #{steps: r}),
            |r| hook("post-mlp", |x, ctx| x, #{layers: r, backward: true}),
            |r| m.capture(ids, "post-mlp", #{layers: r}),
            |r| m.capture(ids, ["post-mlp", "logits"], #{layers: r}),
            |r| m.capture(ids, "logits", #{layers: r}),
            |r| m.gradients(ids, "post-mlp", |out| out.logits.sum(), #{layers: r}),
        ];
        for ask in calls {
            for range in [0..0, 1..1, 3..1, 1..=0, -1..-1] {
                try {
                    ask.call(range);
                    print("nothing");
                } catch (e) {
                    print(e);
                }
            }
        }
        // Among numbers of a tensor none is a legal choice.
        print(arange(3)[0..0].len + arange(3)[1..1].len + arange(3).narrow(0, 1, 0).len);
    "#;
    let ran = crate::run::script(script, &[]).ok();
    let lines: Vec<String> = ran.stdout().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 8 * 5 + 1, "{lines:?}");
    assert_eq!(lines.last().unwrap(), "0");
    for line in &lines[..8 * 5] {
        assert!(line.contains(": the range ") && line.ends_with(" is empty"), "{line}");
    }
}

#[test]
fn a_range_that_is_empty_for_this_model_is_refused_by_the_pass() {
    let script = r#"
        let m = model("demo:opt");
        let ids = m.encode("Mary and John");
        try { m.capture(ids, "post-mlp", #{layers: -1..0}); } catch (e) { print(e); }
        let h = hook("post-mlp", |x, ctx| x, #{layers: -1..1});
        try { m.forward(ids, context([h])); } catch (e) { print(e); }
        print(m.capture(ids, "post-mlp", #{layers: -2..4}).shape[0]);
    "#;
    let ran = crate::run::script(script, &[]).ok();
    let lines: Vec<String> = ran.stdout().lines().map(str::to_owned).collect();
    assert!(lines[0].contains("the range -1..0 is empty"), "{lines:?}");
    assert!(lines[1].contains("the range -1..1 is empty"), "{lines:?}");
    assert_eq!(lines[2], "2", "{lines:?}");
}
