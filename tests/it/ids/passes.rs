//! Passes over ids that were derived, in scripts: what a pass, a loss and a continuation make of
//! their mask.

use crate::run::{precompute, script};

const START: &str = r#"
    let m = model("demo:opt");
    let texts = ["When Mary and John went to the store", "When Mary"];
    let ids = m.encode(texts);
    let left = m.encode(texts, #{pad: "left"});
    let k = m.encode(texts[1]).shape[1];
    let alone = m.forward(m.encode(texts[1]), #{loss: true});
    let generated = m.generate(m.encode(texts[1]), #{max_new_tokens: 3, ignore_eos: true}).text;
    fn close(a, b) { (a - b).abs().max().item() < 0.0001 }
"#;

fn prints(body: &str) -> String {
    script(&format!("{START}{body}"), &[]).ok().stdout()
}

fn fails(body: &str) -> String {
    let ran = script(&format!("{START}{body}"), &[]);
    assert_eq!(ran.output.status.code(), Some(1), "{}", ran.stderr());
    ran.stderr()
}

#[test]
fn a_row_of_a_batch_is_the_text_alone_however_it_was_taken() {
    let rows = [
        "ids[1..2]",
        "ids[1].unsqueeze(0)",
        "ids[-1].unsqueeze(0)",
        "ids[1..2].copy()",
        "ids.flip(0)[..1]",
        "ids.roll(1, 0)[0..1]",
        "ids.index_select(0, tensor([1]))",
        "ids[[[1, 0]]][..1]",
        "ids.narrow(0, 1, 1)",
        "ids.chunk(2)[1]",
        "cat([ids, ids])[3..]",
        "stack([ids[1]])",
        "ids.repeat(2, 1)[-1..]",
        "left[1..]",
        "left[[1.., (-k - 1)..]]",
        "ids[[1.., ..(k + 1)]]",
        "ids[1..].to(\"u32\")",
        "tensor(ids)[1..]",
        "context_key(ids)[1..]",
        "rows(ids)",
        "m.generate(ids, #{max_new_tokens: 1, ignore_eos: true}).ids[[1.., ..-1]]",
    ];
    let listed = rows.map(|row| format!("[`{row}`, {row}]")).join(",\n");
    let out = prints(&format!(
        r#"
        fn context_key(ids) {{ let ctx = context(); ctx.kept = ids; ctx.kept }}
        fn rows(ids) {{ let all = []; for row in ids {{ all.push(row); }} stack(all.map(|row| row))[1..] }}
        for taken in [{listed}] {{
            let row = taken[1];
            let out = m.forward(row, #{{loss: true}});
            if !close(out.loss, alone.loss) {{ print(`${{taken[0]}}: ${{out.loss.item()}} is not ${{alone.loss.item()}}`); }}
            if !close(m.forward(row, #{{logits: "last"}}).logits, m.forward(m.encode(texts[1]), #{{logits: "last"}}).logits) {{ print(taken[0]); }}
            let text = m.generate(row, #{{max_new_tokens: 3, ignore_eos: true}}).text;
            if text != generated {{ print(`${{taken[0]}}: ${{text}}`); }}
            if m.decode(row) != m.decode(m.encode(texts[1])) {{ print(`${{taken[0]}}: ${{m.decode(row)}}`); }}
        }}
        print("all");
        "#
    ));
    assert_eq!(out, "all\n");
}

#[test]
fn losses_of_padded_targets_are_0_and_the_targets_are_counted() {
    let out = prints(
        r#"
        let long = m.forward(m.encode(texts[0]), #{loss: true});
        for batch in [ids, left] {
            let out = m.forward(batch, #{loss: true});
            let both = long.unreduced_loss.sum() + alone.unreduced_loss.sum();
            print(out.targets == long.targets + alone.targets);
            print(out.targets == (batch.mask[[.., ..-1]] & batch.mask[[.., 1..]]).count_nonzero().item());
            print(close(out.unreduced_loss.sum(), both));
            print(close(out.unreduced_loss.sum() / out.targets, out.loss));
            print(close(m.capture(batch, "unreduced-loss").sum(), both));
            // What a hook writes to padding counts for nothing.
            let ctx = context([hook("unreduced-loss", |x, ctx| x + 1.0)]);
            let moved = m.forward(batch, ctx, #{loss: true});
            print(close(moved.loss, out.loss + 1.0) && close(moved.unreduced_loss.sum() / moved.targets, moved.loss));
        }
        "#,
    );
    assert_eq!(out, "true\n".repeat(12));
    assert!(fails("m.forward(ids).targets").contains("this pass made no loss"));
    let error = fails(
        "let row = ids[1..]; row.mask = row != row[[0, 1]]; m.forward(row[[.., ..2]], #{loss: true})",
    );
    assert!(error.contains("a loss needs a real token right after another"), "{error}");
}

#[test]
fn hooks_see_the_mask_with_the_ids() {
    let out = prints(
        r#"
        let seen = [];
        let ctx = context([hook("pre-block", |x, ctx| { seen.push(ctx.ids.mask.to_array() == ctx.mask.to_array()); }, #{layers: 0})]);
        m.forward(ids, ctx);
        m.forward(ids[1..], ctx);
        m.forward(ids[0..1], ctx, #{mask: ids.mask[1..]});
        m.generate(left, ctx, #{max_new_tokens: 2});
        let kept = context([hook("pre-block", |x, ctx| { ctx.kept = ctx.ids[1..]; }, #{layers: 0})]);
        m.forward(left, kept);
        print(seen);
        print(kept.kept.mask.to_array() == left.mask[1..].to_array());
        // And again, from what the first pass kept.
        m.forward(left, kept);
        print(kept.kept.mask.to_array() == left.mask[1..].to_array());
        print(m.encode(texts[1]).mask.all().item() && m.encode(texts[1]).mask.dtype == "bool");
        "#,
    );
    assert_eq!(out, "[true, true, true, true, true]\ntrue\ntrue\ntrue\n");
}

#[test]
fn a_pass_reads_a_text_or_several() {
    let out = prints(
        r#"
        print(close(m.forward(texts[1], #{loss: true}).loss, alone.loss));
        print(close(m.forward(texts).logits, m.forward(ids).logits));
        print(close(m.capture(texts[0], "post-mlp"), m.capture(m.encode(texts[0]), "post-mlp")));
        print(m.generate(texts[1], #{max_new_tokens: 3, ignore_eos: true}).text == generated);
        print(m.generate(texts, context(), #{max_new_tokens: 1}).ids.shape[0]);
        "#,
    );
    assert_eq!(out, "true\ntrue\ntrue\ntrue\n2\n");
    for (call, said) in [
        ("m.forward(7)", "forward reads token ids, a text or an array of texts, not 7"),
        ("m.forward([1, 2])", "tensor([[…]]) makes a batch of one of token ids"),
        ("m.capture([ids[0], ids[1]], \"post-mlp\")", "stack(rows) makes a batch of rows"),
        (
            "m.generate([])",
            "generate reads token ids, a text or an array of texts, not an array of 0",
        ),
        ("m.forward(ids[[.., -1..]])", "row 1 of the mask leaves no token"),
    ] {
        let error = fails(&format!("{call};"));
        assert!(error.contains(said), "{call}:\n{error}");
    }
}

#[test]
fn what_is_shown_of_padded_ids() {
    let out = prints(
        r#"
        let short = m.encode(texts[1]);
        for batch in [ids, left] {
            print(m.decode(batch)[1] == m.decode(short) && m.decode(batch[1]) == m.decode(short));
            print(m.tokens(batch)[1].len == ids.shape[1]);
        }
        print(m.tokens(left[1]).extract(-2) == m.tokens(short).extract(-2));
        print(m.decode(tensor(ids.to_array()))[1] != m.decode(short));
        "#,
    );
    assert_eq!(out, "true\n".repeat(6));
}

#[test]
fn a_file_keeps_the_mask_or_refuses() {
    let ran = script(
        &format!(
            r#"{START}
            save("one", ids);
            save("several", #{{left: left, alone: m.encode(texts[1]), plain: tensor([1, 2]), x: ones([2])}});
            save("numbers.json", ids);
            save("alone.npy", m.encode(texts[1]));
            "#
        ),
        &[],
    )
    .ok();
    std::fs::write(
        ran.directory.path().join("read.rhai"),
        format!(
            r#"{START}
            let one = load_tensors("one.safetensors");
            let several = load_tensors("several.safetensors");
            print(one.keys());
            print(several.keys());
            print(one.one.mask.to_array() == ids.mask.to_array() && one.one.to_array() == ids.to_array());
            print(several.left.mask.to_array() == left.mask.to_array());
            print(close(m.forward(several.left[1..], #{{loss: true}}).loss, alone.loss));
            // Ids that were all real still are where they are put into others.
            let batch = several.left;
            batch[[1, -several.alone.shape[1]..]] = several.alone[0];
            print(batch.mask.to_array() == left.mask.to_array());
            batch[[1, 0]] = several.alone[[0, 0]];
            print(batch.mask[[1, 0]].item());
            "#
        ),
    )
    .unwrap();
    let again = precompute(ran.directory.path())
        .args(["run", "read.rhai", "--read", "out", "--out", "again"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&again.stdout),
        "[\"one\"]\n[\"alone\", \"left\", \"plain\", \"x\"]\ntrue\ntrue\ntrue\ntrue\ntrue\n",
        "{}",
        String::from_utf8_lossy(&again.stderr)
    );
    let error = fails("save(\"ids.npy\", ids);");
    assert!(
        error.contains(".npy holds one tensor, and these are token ids with padding"),
        "{error}"
    );
    let error = fails("save(\"both\", #{ids: ids, \"ids.mask\": ids.mask});");
    assert!(error.contains("ids.mask is the name under which the mask of ids is saved"), "{error}");
}
