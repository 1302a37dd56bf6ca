//! The shipped scripts about directions, and about what heads, neurons and states hold, on both demo
//! models: each shows the effect that it is there to show, and a control that does not.

use crate::fixture::directory;
use crate::gallery::{DEMOS, flat, run, run_with};
use crate::run::{Ran, script};

/// The numbers of a shipped script's .csv by the first cell of each row.
fn rows(ran: &Ran, file: &str) -> Vec<(String, Vec<f32>)> {
    let text = std::fs::read_to_string(ran.file(file)).unwrap();
    let row = |line: &str| {
        let (name, cells) = line.split_once(',').unwrap();
        (name.to_owned(), cells.split(',').map(|cell| cell.parse().unwrap()).collect())
    };
    text.lines().skip(1).map(row).collect()
}

#[track_caller]
fn numbers<'a>(rows: &'a [(String, Vec<f32>)], name: &str) -> &'a [f32] {
    &rows.iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("{name}: {rows:?}")).1
}

#[test]
fn refusal_direction() {
    for model in DEMOS {
        let rows = rows(&run("refusal_direction", model), "answers.csv");
        let gap = |change: &str| {
            let [one, many, capitals] = numbers(&rows, change)[..] else { panic!("{rows:?}") };
            (one, many, capitals)
        };
        let (one, many, _) = gap("nothing");
        assert!(one > 8.0 && many < -8.0, "{model}: {rows:?}");
        for way in ["projected out", "out of the weights"] {
            // Without the direction both kinds get one answer, and other questions theirs.
            let (less_one, less_many, capitals) = gap(way);
            assert!(less_one - less_many < 0.1 * (one - many), "{model}: {rows:?}");
            assert!(less_one < 0.0 && capitals >= 0.95, "{model}: {rows:?}");
            let (random_one, random_many, _) = gap(&format!("a random one {way}"));
            assert!(random_one - random_many > 0.8 * (one - many), "{model}: {rows:?}");
        }
        assert!(gap("added").1 > 2.0 && gap("a random one added").1 < -5.0, "{model}: {rows:?}");
    }
}

/// Projecting a direction out of the weights is projecting it out of what they write, where nothing
/// is tied; where weights alone do not write the stream it is refused.
#[test]
fn a_direction_leaves_the_weights_of_every_family_or_that_is_refused() {
    let text = r#"
        import "lib/directions" as directions;
        let m = model("any");
        seed(1);
        let v = randn([m.config.hidden_size]);
        let ids = ((arange(9) * 37 + 5) % m.config.vocab_size).unsqueeze(0);
        let other = directions::out_of_weights(m, v);
        let at = |m, hooks| m.capture(ids, "post-final-layer-norm", hooks);
        let hooked = at.call(m, directions::project_out(v));
        print((at.call(other, []) - hooked).abs().max().item());
        print((at.call(m, []) - hooked).abs().max().item());
    "#;
    let on = |case: &str| script(text, &["--model", directory(case).to_str().unwrap()]);
    for case in ["opt", "gpt2", "llama", "gpt-neox", "qwen2", "falcon-grouped"] {
        let found = on(case).ok().stdout();
        let found: Vec<f32> = found.lines().map(|line| line.parse().unwrap()).collect();
        assert!(found[0] < 1e-5 && found[1] > 1e-2, "{case}: {found:?}");
    }
    for case in ["gemma2", "bloom"] {
        let said = on(case).stderr();
        assert!(said.contains("still has a part along the direction"), "{case}: {said}");
    }
}

#[test]
fn contrastive_activation_addition() {
    for model in DEMOS {
        let found = run("contrastive_activation_addition", model).tensors("steered.safetensors");
        let by_layer = |name: &str| -> Vec<Vec<f32>> { found[name].to_vec2().unwrap() };
        let (vectors, random) = (by_layer("found"), by_layer("random"));
        for (layer, (found, random)) in vectors.iter().zip(&random).enumerate() {
            assert!(found[..4].is_sorted(), "{model}, layer {layer}: {found:?}");
            // At twice the vector every answer is the one it stands for, and at minus twice the other.
            assert!(found[0] < 0.05 && found[4] > 0.95, "{model}, layer {layer}: {found:?}");
            assert!(
                random.iter().all(|share| (0.25..0.75).contains(share)),
                "{model}, layer {layer}: {random:?}"
            );
        }
    }
}

#[test]
fn function_vectors() {
    for model in DEMOS {
        let ran = run("function_vectors", model);
        let rows = rows(&ran, "answers.csv");
        let one = |added: &str| numbers(&rows, added)[0];
        assert!(one("nothing") > 8.0 && one("the function vector") < -8.0, "{model}: {rows:?}");
        for control in ["the next heads' sum", "a random vector"] {
            assert!(one(control) > 0.75 * one("nothing"), "{model}: {rows:?}");
        }
        // A few heads do it: most of what all heads do one by one.
        let mut effects = flat(&ran.tensors("function.safetensors")["effects"]);
        effects.sort_by(f32::total_cmp);
        let few: f32 = effects[13..].iter().sum();
        assert!(few > 0.75 * effects.iter().sum::<f32>(), "{model}: {effects:?}");
    }
}

/// What a script that is run on a demo prints, as numbers.
fn printed(model: &str, text: &str) -> Vec<f32> {
    let ran = script(text, &["--model", model]).ok();
    ran.stdout().lines().map(|line| line.parse().unwrap_or_else(|_| panic!("{line}"))).collect()
}

#[test]
fn mlp_lookup() {
    for model in DEMOS {
        let ran = run("mlp_lookup", model);
        let off = rows(&ran, "off.csv");
        let [most, random] = numbers(&off, "64")[..] else { panic!("{off:?}") };
        assert!(most < 0.4 && random > 0.98, "{model}: {off:?}");
        // Together the neurons of a layer, and its bias, add what the layer's MLP adds.
        let by_layer = printed(
            model,
            r#"
            import "lib/lens" as lens;
            let m = model("any");
            let ids = m.encode("The capital of Velland is");
            let w = m.unembedding().w;
            let answer = w[[.., m.encode(" Ostra", #{special: false})[[0, 0]].item()]] - w.mean(1);
            let mlps = lens::contributions(m, ids, -1).mlps;
            let scale = m.capture(ids, "final-norm-scale")[[0, -1]];
            for layer in 0..mlps.len {
                let bias = lens::through_final_norm(m, m.mlp(layer).b_out, scale);
                print((mlps[layer] - bias).dot(answer).item());
            }
            "#,
        );
        let adds = ran.tensor("adds").get(0).unwrap().sum(1).unwrap().to_vec1::<f32>().unwrap();
        for (neurons, mlp) in adds.iter().zip(&by_layer) {
            assert!((neurons - mlp).abs() < 1e-4, "{model}: {adds:?} {by_layer:?}");
        }
        assert!(adds.len() == by_layer.len() && adds.iter().any(|sum| *sum > 1.0), "{model}");
    }
}

#[test]
fn attention_sinks() {
    // The text in which each rests on the first token, and the one in which it does not.
    for (model, rests, looks) in [
        ("demo:opt", "sentences", "random tokens"),
        ("demo:gpt-neox", "random tokens", "sentences"),
    ] {
        let rows = rows(&run("attention_sinks", model), "sinks.csv");
        let [_, _, share, others, written, loss, cut] = numbers(&rows, rests)[..] else { panic!() };
        assert!(share > 0.5 && share > 4.0 * others, "{model}: {rows:?}");
        assert!(written < 0.8 && (cut - loss).abs() < 0.1, "{model}: {rows:?}");
        assert!(numbers(&rows, looks)[2] < 0.25, "{model}: {rows:?}");
        if model == "demo:gpt-neox" {
            let again = numbers(&rows, "the same again")[2];
            assert!(again < 0.7 * share, "{model}: {rows:?}");
        }
    }
}

#[test]
fn copy_suppression() {
    for (model, layer, head) in [("demo:opt", 0, 3), ("demo:gpt-neox", 3, 3)] {
        let found = run("copy_suppression", model).tensors("suppression.safetensors");
        let at = |name: &str| found[name].to_vec2::<f32>().unwrap()[layer][head];
        let (direct, total) = (at("direct"), at("total"));
        assert!(total < -5.0 && at("looks") > 0.7, "{model}: {direct} {total}");
        // The one head does so by itself, the other by what reads it.
        assert!(if layer == 3 { direct < -8.0 } else { direct > 0.0 }, "{model}: {direct} {total}");
        let others = flat(&found["total"]).into_iter().filter(|&effect| effect != total);
        assert!(others.fold(0.0, f32::min) > -1.0, "{model}: {:?}", flat(&found["total"]));
    }
    // In the last layer nothing reads the head but the final norm and the unembedding: with the norm's
    // scale held, what it does in all is what it does directly.
    let by_hand = printed(
        "demo:gpt-neox",
        r#"
        import "lib/indirect_objects" as ioi;
        let m = model("any");
        let sum = 0.0;
        for pair in ioi::pairs_of(m) {
            let ids = m.encode(pair.clean);
            let name = m.token_id(pair.wrong);
            let value = m.capture(ids, "value-states", #{layers: 3})[[0, 3]];
            let look = m.capture(ids, "attn-probs", #{layers: 3})[[0, 3, -1]] * (ids[0] == name);
            let scale = m.capture(ids, "final-norm-scale");
            let less = [
                hook("attn-weighted-values", |x, ctx| { x[[0, 3, -1]] = x[[0, 3, -1]] - look.matmul(value); }, #{layers: 3}),
                hook("final-norm-scale", |x, ctx| scale),
            ];
            let above = |logits| (logits[[0, -1, name]] - logits[[0, -1]].mean()).item();
            sum += above.call(m.forward(ids).logits) - above.call(m.forward(ids, less).logits);
        }
        print(sum / ioi::pairs_of(m).len());
        "#,
    );
    let found = run("copy_suppression", "demo:gpt-neox").tensors("suppression.safetensors");
    let direct = found["direct"].to_vec2::<f32>().unwrap()[3][3];
    assert!((direct - by_hand[0]).abs() < 1e-3, "{direct} {by_hand:?}");
}

#[test]
fn patchscopes() {
    // After which block the last token holds the answer, and after which the question alone.
    for (model, answers, asks) in [("demo:opt", 1, None), ("demo:gpt-neox", 3, Some(2))] {
        let found = run("patchscopes", model).tensors("read.safetensors");
        let most = |name: &str| -> Vec<f32> {
            let rows = found[name].to_vec2::<f32>().unwrap();
            rows.iter().map(|row| row.iter().copied().fold(0.0, f32::max)).collect()
        };
        let (answer, question, lens) = (most("answer"), most("question"), flat(&found["lens"]));
        assert!(answer[answers..].iter().all(|p| *p > 0.95), "{model}: {answer:?}");
        assert!(answer[..answers].iter().all(|p| *p < 0.2), "{model}: {answer:?}");
        assert!(question[answers..].iter().all(|p| *p < 0.3), "{model}: {question:?}");
        if let Some(asks) = asks {
            assert!(question[asks] > 0.95, "{model}: {question:?}");
        }
        // The model reads no later than the logit lens, and demo:opt two blocks earlier.
        assert!(
            answer.iter().zip(&lens).all(|(read, lens)| *read > lens - 1e-3),
            "{model}: {lens:?}"
        );
        if model == "demo:opt" {
            assert!(lens[answers] < 0.01 && lens[answers + 1] < 0.5, "{model}: {lens:?}");
        }
    }
}

#[test]
fn jacobian_lens() {
    for model in DEMOS {
        let rows = rows(&run("jacobian_lens", model), "divergence.csv");
        for (after, divergence) in &rows[..rows.len() - 1] {
            let [_, corrected, jacobian] = divergence[..] else { panic!("{rows:?}") };
            assert!(jacobian < 0.85 * corrected, "{model}, after {after}: {rows:?}");
        }
        let [logit, corrected, jacobian] = numbers(&rows, "layer 2")[..] else { panic!() };
        assert!(jacobian < 0.2 * logit && jacobian < 0.5 * corrected, "{model}: {rows:?}");

        // Of one text the Jacobian, here of the last block, is what small steps of the state give.
        let of_one = run_with("jacobian_lens", model, &["--set", "texts=1"]).tensor("jacobians");
        let by_steps = printed(
            model,
            r#"
            let m = model("any");
            let ids = m.encode("The capital of Velland is");
            let x = m.capture(ids, "post-mlp", #{layers: 2});
            let step = linspace(-1.0, 1.0, m.config.hidden_size) * 0.03;
            let after = |sign| {
                let near = x.copy();
                near[[0, -1]] = near[[0, -1]] + step * sign;
                m.forward(ids, #{start: "pre-block@3", from: near, stop: "post-mlp@3"}).stopped[[0, -1]]
            };
            for change in (after.call(1.0) - after.call(-1.0)) / 0.06 { print(change.item()); }
            "#,
        );
        let j = of_one.get(3).unwrap().to_vec2::<f32>().unwrap();
        let last = (j.len() - 1) as f32;
        for (column, found) in by_steps.iter().enumerate() {
            let along = |i: usize| 2.0 * i as f32 / last - 1.0;
            let foretold: f32 = (0..j.len()).map(|i| along(i) * j[i][column]).sum();
            assert!((foretold - found).abs() < 0.02, "{model}, {column}: {foretold} {found}");
        }
        assert!(by_steps.len() == j.len() && by_steps.iter().any(|c| c.abs() > 0.5), "{model}");
    }
}

#[test]
fn model_diff() {
    for (model, country) in [("demo:opt", None), ("demo:gpt-neox", Some(5))] {
        let ran = run("model_diff", model);
        let found = ran.tensors("diff.safetensors");
        let moved = found["moved"].to_vec2::<f32>().unwrap();
        let (layers, n) = (moved.len(), moved[0].len());
        // After the last block the last token is all that is read, and the two models read it alike.
        assert!((moved[layers - 1][n - 1] - 1.0).abs() < 1e-3, "{model}: {moved:?}");
        assert!(moved[layers - 1][..n - 1].iter().all(|share| *share == 0.0), "{model}: {moved:?}");
        // On the way to it the answer comes to the last token, in one of them from the country.
        let at_end: Vec<f32> = moved.iter().map(|row| row[n - 1]).collect();
        assert!(at_end.is_sorted() && at_end[0] > 0.2, "{model}: {at_end:?}");
        if let Some(country) = country {
            let others = (0..n - 1).filter(|at| *at != country).map(|at| moved[0][at].abs());
            assert!(moved[0][country] > 0.25, "{model}: {moved:?}");
            assert!(others.fold(0.0, f32::max) < 0.1, "{model}: {moved:?}");
        }
        // Every state differs, and one that says nothing about capitals is as far off as others.
        assert!(flat(&found["apart"]).iter().all(|far| *far > 0.05), "{model}");
        let parts = rows(&ran, "parts.csv");
        assert!(parts.iter().any(|(_, row)| row[0] > 0.5 || row[1] > 0.5), "{model}: {parts:?}");
    }
}
