//! The functions of models, and what passes give, are differentiable.

use precompute::script::declare::{Gradient, Page};
use precompute::script::{Host, Settings};

/// Parts of a model applied to a stream of one's own, and what passes give.
#[test]
fn functions_of_a_model_are_differentiable() {
    let host = Host::new(Settings { seed: Some(3), ..Settings::default() }).unwrap();
    let parts = [
        ("final_norm", "m.final_norm(x)"),
        ("unembed", "m.unembed(x)"),
        ("block", "m.block(1, x)"),
        ("attn_norm", "m.attn_norm(1, x)"),
        ("mlp_norm", "m.mlp_norm(0, x)"),
        ("forward", "m.forward(ids, [], #{start: \"pre-block@1\", from: x}).logits"),
        (".logits", "m.forward(ids, [hook(\"post-mlp\", |y, ctx| y + x, #{layers: 0})]).logits"),
        (".loss", "m.forward(ids, [], #{start: \"pre-block@1\", from: x, loss: true}).loss"),
        (
            ".unreduced_loss",
            "m.forward(ids, [], #{start: \"pre-block@1\", from: x, loss: true}).unreduced_loss",
        ),
        (
            ".stopped",
            "m.forward(ids, [], #{start: \"pre-block@1\", from: x, stop: \"post-mlp@1\"}).stopped",
        ),
        (
            "with_weights",
            "m.with_weights(#{\"model.decoder.layers.1.fc2.bias\": x[[0, 0]]}).forward(ids).logits",
        ),
        ("capture", "m.capture(ids, \"post-mlp\", [hook(\"post-mlp\", |y, ctx| y * x)])"),
    ];
    for (name, part) in parts {
        let script = format!(
            r#"
            let m = model("demo:opt");
            let ids = m.encode("Mary and John went to the store.");
            let f = |x| {part};
            let x = randn(1, ids.shape[1], m.config.hidden_size);
            let v = variable(x);
            let given = f.call(v);
            let w = randn(given.shape);
            let gradient = gradient((given * w).sum(), v);
            let u = randn_like(x);
            let e = 0.0005;
            let by_run = ((f.call(x + u * e) - f.call(x - u * e)).to("f64") * w).sum().item() / (2.0 * e);
            let by_gradient = (gradient * u).sum().item();
            [by_run, by_gradient]
            "#
        );
        let both = host.eval(&script).unwrap_or_else(|failure| panic!("{part}\n{failure}"));
        let both = both.to_string();
        let numbers: Vec<f64> =
            both.trim_matches(['[', ']']).split(", ").map(|x| x.parse().unwrap()).collect();
        let off = (numbers[0] - numbers[1]).abs();
        assert!(off < 0.02 * numbers[1].abs().max(0.1), "{name}: {part}: {both}");
    }
    let untested: Vec<_> = host
        .declarations()
        .iter()
        .filter(|of| of.page == Page::Experiments && of.gradient == Gradient::Yes)
        .map(|of| of.name)
        .filter(|name| parts.iter().all(|(tested, _)| tested != name))
        .collect();
    assert!(untested.is_empty(), "{untested:?}");
}
