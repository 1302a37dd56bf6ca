//! The maps that functions give: maps to a script, but a key that is not there is an error.

use crate::binary::script;

#[test]
fn a_key_that_is_not_there_is_an_error_that_names_the_nearest() {
    for (text, key, help) in [
        ("m.heads(0).w_Q", "w_Q", "did you mean w_q"),
        ("m.heads(0)[\"W_O\"]", "W_O", "did you mean w_o"),
        ("m.config.nope", "nope", ""),
        ("m.config.hidden_sise", "hidden_sise", "did you mean hidden_size"),
        ("ones(3).topk(1).value", "value", "did you mean values"),
        ("ones(3).sort(0).index", "index", "did you mean indices"),
        ("eye(2).svd().v", "v", "did you mean vh"),
        ("eye(2).eigh().vals", "vals", "did you mean values"),
        ("ones(3).histogram(2).bins", "bins", "there are counts, edges"),
        (
            "m.capture(ids, [\"post-mlp\", \"attn-probs\"])[\"post-mpl\"]",
            "post-mpl",
            "did you mean post-mlp",
        ),
    ] {
        let ran = script(&format!(
            "let m = model(\"demo:opt\"); let ids = m.encode(\"Mary\");\nlet x = {text};"
        ));
        let said = format!("error: this map has no key {key:?}\n   --> s.rhai:2:");
        assert!(
            ran.code == Some(1) && ran.stderr.starts_with(&said) && ran.stderr.contains(help),
            "{text}\n{}",
            ran.stderr
        );
    }
    let ran = crate::run::script(
        "save(\"a\", #{left: ones(1)}); load_tensors(\"out/a.safetensors\").lef",
        &[],
    );
    let said = ran.stderr();
    assert!(
        said.contains("this map has no key \"lef\"") && said.contains("did you mean left"),
        "{said}"
    );
    let ran = script("let m = model(\"demo:opt\");\nlet o = m.forward(m.encode(\"a\")).logit;");
    assert!(ran.stderr.contains("did you mean logits"), "{}", ran.stderr);
    let ran = script(
        "let m = model(\"demo:opt\");\nm.forward(m.encode(\"a\"), context([hook(\"post-mlp\", |x, ctx| {\nlet n = ctx.config.num_layer; x * n })]));",
    );
    assert!(
        ran.stderr.contains("this map has no key \"num_layer\"") && ran.stderr.contains("s.rhai:3"),
        "{}",
        ran.stderr
    );
}

#[test]
fn else_they_are_maps() {
    for (text, printed) in [
        ("\"values\" in t", "true"),
        ("\"value\" in t", "false"),
        ("\"value\" !in t", "true"),
        ("t.keys()", "[\"indices\", \"values\"]"),
        ("t.values().len()", "2"),
        ("t.len()", "2"),
        ("t.is_empty()", "false"),
        ("t.contains(\"values\")", "true"),
        ("t.get(\"value\") == ()", "true"),
        ("t.get(\"value\") ?? 3", "3"),
        ("type_of(t)", "map"),
        ("let n = 0; for key in t.keys() { n += t[key].numel; } n", "4"),
        ("t.extra = 1; t.extra", "1"),
        ("t[\"more\"] = 1; t.keys()", "[\"indices\", \"more\", \"values\"]"),
        ("t.values += 1; t.values", "tensor [2] f32 cpu: [4.0, 3.0]"),
        ("t.values[0] = 0; t.values", "tensor [2] f32 cpu: [0.0, 2.0]"),
        ("t.remove(\"values\"); t.keys()", "[\"indices\"]"),
        ("t.set(\"values\", 1); t.values", "1"),
        ("let all = t + #{a: 1}; [all.a, all.keys()]", "[1, [\"a\", \"indices\", \"values\"]]"),
        ("let all = #{a: 1} + t; all.keys()", "[\"a\", \"indices\", \"values\"]"),
        ("t += #{a: 1}; t.a", "1"),
        ("t.mixin(#{a: 1}); t.a", "1"),
        ("let own = #{a: 1}; own += t; own.nope == ()", "true"),
        ("let c = t.filter(|key| key == \"values\"); c.keys()", "[\"values\"]"),
        ("t.to_json()", "{\"indices\":[0,1],\"values\":[3.0,2.0]}"),
        ("#{t: t}.to_json()", "{\"t\":{\"indices\":[0,1],\"values\":[3.0,2.0]}}"),
        ("m.config == m.config", "true"),
        ("m.config == #{}", "false"),
        ("let own = #{a: 1}; own.nope == ()", "true"),
        ("let own = #{}; own[\"nope\"] == ()", "true"),
        ("let own = #{a: #{}}; own.a.nope == ()", "true"),
    ] {
        let ran = script(&format!(
            "let m = model(\"demo:opt\"); let t = tensor([3.0, 2.0]).topk(2);\nprint({{ {text} }});"
        ));
        assert_eq!((ran.stdout.trim_end(), ran.code), (printed, Some(0)), "{text}\n{}", ran.stderr);
    }
    let ran = script(
        "print(tensor([3.0]).topk(1)); save(\"config\", model(\"demo:opt\").config); save(\"top\", tensor([3.0]).topk(1)); table([tensor([3.0]).topk(1)]);",
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout.starts_with(
            "#{\"indices\": tensor [1] i64 cpu: [0], \"values\": tensor [1] f32 cpu: [3.0]}"
        ),
        "{}",
        ran.stdout
    );
}
