//! Paths and circuits: `lib/patching` and `lib/circuit` against computations by hand, and the shipped
//! scripts that find circuits, on both demo models.

use crate::fixture::directory;
use crate::gallery::{DEMOS, run};
use crate::run::{Ran, script};

const IDS: &str = r#"
    let m = model(param("model", "demo:opt"));
    let clean = ((arange(12) * 37 + 5) % m.config.vocab_size).unsqueeze(0);
    let corrupted = ((arange(12) * 53 + 11) % m.config.vocab_size).unsqueeze(0);
    let metric = |out| out.logits[[0, -1, 5]] - out.logits[[0, -1, 9]];
    let last = m.config.num_hidden_layers - 1;
"#;

/// The numbers that a script prints, one a line, on a fixture.
fn numbers(case: &str, library: &str, body: &str) -> Vec<f32> {
    let text = format!("import \"lib/{library}\" as {library};\n{IDS}\n{body}");
    let ran = script(&text, &["--model", directory(case).to_str().unwrap()]).ok();
    ran.stdout().lines().map(|line| line.parse().unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// Every kind of path, beside what it comes to by hand: what the receiver reads is the clean stream
/// and the difference of what the sender writes; from there the receiver's own part is computed, put
/// there, and the rest runs.
#[test]
fn a_path_patched_is_what_it_comes_to_by_hand() {
    for case in ["opt", "gpt2", "bloom", "falcon-grouped", "llama", "gpt-neox", "qwen2"] {
        let found = numbers(
            case,
            "patching",
            r#"
            let points = ["attn-head-outputs", "mlp-residual", "post-pos-embeddings"];
            let ours = m.capture(clean, points + ["pre-block", "mlp-input", "post-mlp"]);
            let theirs = m.capture(corrupted, points);
            let h = m.config.num_attention_heads - 1;
            let kv = m.config.num_key_value_heads - 1;
            let sent = #{
                "a0.h1": theirs["attn-head-outputs"][[0, .., 1]] - ours["attn-head-outputs"][[0, .., 1]],
                m0: theirs["mlp-residual"][0] - ours["mlp-residual"][0],
                input: theirs["post-pos-embeddings"] - ours["post-pos-embeddings"],
            };
            let of = |logits| logits[[0, -1, 5]].item() - logits[[0, -1, 9]].item();
            for sender in sent.keys() {
                let by = |to| print(patching::patch_path(m, clean, corrupted, sender, [to], metric));
                let put = |point, f| print(of.call(m.forward(clean, [hook(point, f, #{layers: last})]).logits));
                by.call("logits");
                print(of.call(m.unembed(m.final_norm(ours["post-mlp"][last] + sent[sender]))));
                by.call(`m${last}`);
                let read = m.mlp_norm(last, ours["mlp-input"][last] + sent[sender]);
                put.call("pre-mlp", |x, ctx| read);

                let read = m.attn_norm(last, ours["pre-block"][last] + sent[sender]);
                let w = m.heads(last);
                let v = read.matmul(w.w_v[kv]) + w.b_v[kv];
                by.call(`a${last}.h${kv}<v>`);
                put.call("value-states", |x, ctx| { x[[.., kv]] = v; });
                // Queries and keys before they are rotated, where they are.
                let raw = if m.config.model_type in ["opt", "gpt2", "bloom"] { "" } else { "pre-" };
                let q = read.matmul(w.w_q[h]) + w.b_q[h];
                by.call(`a${last}.h${h}<q>`);
                put.call(`${raw}query-states`, |x, ctx| { x[[.., h]] = q; });
                let k = read.matmul(w.w_k[kv]) + w.b_k[kv];
                by.call(`a${last}.h${kv}<k>`);
                put.call(`${raw}key-states`, |x, ctx| { x[[.., kv]] = k; });
            }
            print(of.call(m.forward(clean).logits));
            "#,
        );
        let (plain, pairs) = found.split_last().unwrap();
        assert_eq!(pairs.len(), 30, "{case}");
        for (i, pair) in pairs.chunks(2).enumerate() {
            assert!((pair[0] - pair[1]).abs() <= 1e-5, "{case}: path {i}: {pair:?}");
        }
        let moved = pairs.iter().filter(|value| (*value - plain).abs() > 1e-3).count();
        assert!(moved > 20, "{case}: the paths change nothing: {found:?}");
    }
}

#[test]
fn what_is_held_fixed_stays_and_what_is_excepted_does_not() {
    let found = numbers(
        "llama",
        "patching",
        r#"
        let points = ["attn-weighted-values", "mlp-residual"];
        let ours = m.capture(clean, points);
        for except in [[], ["a1.h2", "m0"]] {
            let seen = m.capture(corrupted, points, patching::freeze(m, clean, #{except: except}));
            let heads = (seen["attn-weighted-values"] != ours["attn-weighted-values"]).any([1, 3, 4]);     // [l, h]
            let mlps = (seen["mlp-residual"] != ours["mlp-residual"]).any([1, 2, 3]);
            print(heads.count_nonzero().item());
            print(mlps.count_nonzero().item());
            print(if heads[[1, 2]].item() && mlps[0].item() { 1 } else { 0 });
        }
        "#,
    );
    assert_eq!(found, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
}

/// The whole model, nothing of it, and two edges, beside what they come to by hand; a circuit's first
/// derivative with regard to an edge is the edge's attribution.
#[test]
fn a_circuit_alone_is_what_it_comes_to_by_hand() {
    for case in ["opt", "gpt-neox", "llama", "falcon-grouped"] {
        let found = numbers(
            case,
            "circuit",
            r#"
            let whole = circuit::whole(m);
            let by = |edges| print(circuit::run(m, edges, clean, corrupted, metric));
            by.call(whole);
            print(metric.call(m.forward(clean)).item());
            by.call(whole * 0.0);
            print(metric.call(m.forward(corrupted)).item());

            // From the input through the last MLP alone.
            let two = whole * 0.0;
            two[[-2, 0]] = 1.0;
            two[[-1, -1]] = 1.0;
            by.call(two);
            let at = #{layers: last};
            let theirs = m.capture(corrupted, ["mlp-input", "mlp-residual", "post-mlp"], at);
            let embeddings = m.capture(clean, "post-pos-embeddings") - m.capture(corrupted, "post-pos-embeddings");
            let read = m.mlp_norm(last, theirs["mlp-input"] + embeddings);
            let written = m.capture(corrupted, "mlp-residual", [hook("pre-mlp", |x, ctx| read, at)], at);
            let logits = m.unembed(m.final_norm(theirs["post-mlp"] + written - theirs["mlp-residual"]));
            print(logits[[0, -1, 5]].item() - logits[[0, -1, 9]].item());

            let scores = circuit::attributions(m, clean, corrupted, metric, 1);
            for edge in [[0, 0], [-1, 3], [-2, 1], [-3, 2], [-2, 0], [-1, 0]] {
                let slope = 0.0;
                for side in [1.0, -1.0] {
                    let near = whole.copy();
                    near[edge] = 1.0 + side / 64.0;
                    slope += side * circuit::run(m, near, clean, corrupted, metric) * 32.0;
                }
                print(slope);
                print(scores[edge].item());
            }
            "#,
        );
        assert_eq!(found.len(), 18, "{case}");
        for (i, pair) in found.chunks(2).enumerate() {
            let off = (pair[0] - pair[1]).abs() / pair[1].abs().max(1.0);
            let within = if i < 3 { 1e-5 } else { 5e-3 };
            assert!(off <= within, "{case}: {i}: {pair:?}");
        }
        assert!(found[6..].iter().any(|score| score.abs() > 0.02), "{case}: {found:?}");
    }
}

/// The rows of a shipped script's .csv, without the names of the columns.
fn rows(ran: &Ran, file: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(ran.file(file)).unwrap();
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn edge_attribution() {
    for model in DEMOS {
        let ran = run("edge_attribution", model);
        let held = |share: f32| -> Vec<f32> {
            let rows = rows(&ran, "kept.csv").into_iter();
            let mut rows = rows.map(|row| row.iter().map(|cell| cell.parse().unwrap()).collect());
            rows.find(|row: &Vec<f32>| row[2] == share).unwrap()[..2].to_vec()
        };
        assert!(
            held(0.1).iter().all(|share| (0.8..1.2).contains(share)),
            "{model}: {:?}",
            held(0.1)
        );
        assert!(held(1.0).iter().all(|share| (share - 1.0).abs() < 1e-4), "{model}");
        assert!(held(0.01).iter().all(|share| *share < 0.95), "{model}: {:?}", held(0.01));
        let count = rows(&ran, "edges.csv").len();
        assert!((10..=48).contains(&count), "{model}: {count} edges");
    }
}

/// From the logits back to the head that brings the name, by its values; and that head does look at
/// the giver, from the last token.
#[test]
fn path_patching() {
    for (model, mover) in [("demo:opt", (0, 3)), ("demo:gpt-neox", (3, 3))] {
        let rows = rows(&run("path_patching", model), "path.csv");
        let lost = |to: &str| -> f32 {
            rows.iter().find(|row| row[1] == to).unwrap_or_else(|| panic!("{to}: {rows:?}"))[2]
                .parse()
                .unwrap()
        };
        let name = format!("a{}.h{}", mover.0, mover.1);
        assert!(rows.iter().any(|row| row[0] == name && row[2].parse::<f32>().unwrap() > 0.5));
        let [q, k, v] = ["q", "k", "v"].map(|read| lost(&format!("{name}<{read}>")));
        assert!(v > 0.7 && q < 0.1 && k < 0.1, "{model}: {rows:?}");
        let looks = script(
            &format!(
                r#"import "lib/indirect_objects" as ioi;
                let m = model("{model}");
                let task = ioi::batch(m);
                let giver = (task.clean != task.corrupted).to("f32");
                let seen = m.capture(task.clean, "attn-probs", #{{layers: {}}})[[.., {}, -1]];
                print((seen * giver).sum(-1).min().item());"#,
                mover.0, mover.1
            ),
            &[],
        );
        let least: f32 = looks.ok().stdout().trim().parse().unwrap();
        assert!(least > 0.5, "{model}: {least}");
    }
}

#[test]
fn acdc() {
    for model in DEMOS {
        let ran = run("acdc", model);
        let quality = rows(&ran, "quality.csv");
        let [edges, all, faithful, rest, least] =
            [0, 1, 2, 3, 4].map(|at| quality[0][at].parse::<f32>().unwrap());
        assert!(edges < 0.1 * all && edges >= 3.0, "{model}: {quality:?}");
        assert!((0.8..1.2).contains(&faithful) && rest < 0.2, "{model}: {quality:?}");
        assert!(least > 0.0, "{model}: {quality:?}");

        // What was saved is the circuit: read again, it is run and judged as before.
        let read = script(
            r#"import "lib/circuit" as circuit;
            import "lib/indirect_objects" as ioi;
            let m = model(param("model", "demo:opt"));
            let kept = load_tensors(param("from", "")).circuit;
            let pair = ioi::pairs_of(m)[0];
            let metric = ioi::metric(m, pair);
            print(circuit::edges(m, kept).len());
            print(circuit::faithfulness(m, kept, m.encode(pair.clean), m.encode(pair.corrupted), metric));"#,
            &[
                "--model",
                model,
                "--read",
                ran.file("").to_str().unwrap(),
                "--set",
                &format!("from={}", ran.file("circuit.safetensors").display()),
            ],
        )
        .ok();
        let again: Vec<f32> = read.stdout().lines().map(|line| line.parse().unwrap()).collect();
        assert!(again[0] == edges && (again[1] - faithful).abs() < 1e-5, "{model}: {again:?}");
    }
}

#[test]
fn edge_pruning() {
    for model in DEMOS {
        let ran = run("edge_pruning", model);
        let quality = rows(&ran, "quality.csv");
        let [edges, all, faithful, rest, least] =
            [0, 1, 2, 3, 4].map(|at| quality[0][at].parse::<f32>().unwrap());
        assert!(edges < 0.05 * all && edges >= 3.0, "{model}: {quality:?}");
        assert!((0.9..1.1).contains(&faithful) && rest.abs() < 0.1, "{model}: {quality:?}");
        assert!(least > 0.0, "{model}: {quality:?}");
        assert_eq!(
            ran.tensors("circuit.safetensors")["circuit"]
                .sum_all()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap(),
            edges
        );
        // Fewer of the strongest edges do not hold as much.
        let tried = rows(&ran, "tried.csv")
            .into_iter()
            .map(|row| [0, 1].map(|at| row[at].parse::<f32>().unwrap()));
        let (fewer, enough): (Vec<_>, Vec<_>) = tried.partition(|[_, held]| *held < 0.9);
        assert!(
            fewer.iter().all(|[count, _]| *count < enough[0][0]) && enough[0][1] == faithful,
            "{model}"
        );
    }
}

#[test]
fn causal_scrubbing() {
    for model in DEMOS {
        let rows = rows(&run("causal_scrubbing", model), "recovered.csv");
        let tenth = rows.iter().find(|row| row[0] == "0.1").unwrap_or_else(|| panic!("{rows:?}"));
        let [attributed, random] = [1, 2].map(|at| tenth[at].parse::<f32>().unwrap());
        assert!(attributed > 0.6 && random.abs() < 0.2, "{model}: {rows:?}");
    }
}

#[test]
fn attention_knockout() {
    for model in DEMOS {
        let left: Vec<Vec<f32>> =
            run("attention_knockout", model).tensor("knockout").to_vec2().unwrap();
        let everywhere = left.last().unwrap();
        let n = everywhere.len();
        // The giver is five tokens before the end; nothing between it and the last token is needed.
        let least = (0..n).min_by(|&a, &b| everywhere[a].total_cmp(&everywhere[b])).unwrap();
        assert!(everywhere[n - 5] < 0.2, "{model}: {everywhere:?}, least at {least}");
        assert!(
            everywhere[n - 4..n - 1].iter().all(|share| *share > 0.8),
            "{model}: {everywhere:?}"
        );
    }
}
