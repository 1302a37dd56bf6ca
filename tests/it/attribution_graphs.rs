//! `lib/attribution`: every edge of a graph beside what it comes to by hand, what a graph is pruned to,
//! and the recipe on both demo models.

use crate::fixture::directory;
use crate::gallery::{DEMOS, run_with};
use crate::run::script;

/// A prompt, and a transcoder with random weights for each layer: of every kind in turn, with a skip
/// and without.
const RANDOM: &str = r#"
    import "lib/attribution" as attribution;
    let m = model(param("model", "demo:opt"));
    let ids = ((arange(6) * 37 + 5) % m.config.vocab_size).unsqueeze(0);
    let d = m.config.hidden_size;
    seed(1);
    let transcoders = [];
    for layer in 0..m.config.num_hidden_layers {
        transcoders.push(#{
            kind: ["topk", "jumprelu", "standard"][layer % 3], k: 3, threshold: full([12], 0.1), center: layer == 1, rescale: layer == 0,
            normalize: "none", transcoder: true, heads: false, w_skip: if layer == 1 { randn([d, d]) / d } else { () },
            point: "mlp-residual", layer: layer, from: "pre-mlp",
            w_enc: randn([d, 12]), b_enc: randn([12]), w_dec: randn([12, d]) * 0.1, b_dec: randn([d]) * 0.1,
        });
    }
"#;

/// What goes into each node sums to what it reads; and of three sources, one of each kind, what each
/// adds to every node is what a pass finds in which all but it writes nothing, patterns and scales
/// being what they were.
#[test]
fn every_edge_is_what_it_comes_to_by_hand() {
    let fixtures = ["llama", "gemma2"].map(|case| directory(case).display().to_string());
    for model in DEMOS.map(str::to_owned).into_iter().chain(fixtures) {
        let ran = script(
            &format!(
                r##"{RANDOM}
                let g = attribution::trace(m, transcoders, ids, #{{logits: 3, share: 1.0, batch: 7}});
                let size = g.values.abs().max();
                print(((g.edges.sum(1) + g.biases - g.values).abs().max() / size).item());

                let points = ["attn-probs", "attn-norm-scale", "mlp-norm-scale", "final-norm-scale"];
                if m.norms(0).post_attn != () {{ points += ["post-attn-norm-scale", "post-mlp-norm-scale"]; }}
                let was = m.capture(ids, points);
                let residuals = m.capture(ids, "mlp-residual");
                let embeddings = m.capture(ids, "post-pos-embeddings");
                // What is read where `at` of the stream writes `v` alone.
                let pass = |layer, position, v| {{
                    let hooks = [hook("post-pos-embeddings", |x, ctx| {{
                        let x = zeros_like(x);
                        if layer == -1 {{ x[[0, position]] = v; }}
                        x
                    }})];
                    for point in points {{
                        let old = was[point];
                        hooks.push(hook(point, |x, ctx| if old.rank == x.rank {{ old }} else {{ old[ctx.layer] }}));
                    }}
                    let ctx = context(hooks + [
                        hook("pre-mlp", |x, ctx| {{ ctx[`read ${{ctx.layer}}`] = x; }}),
                        hook("mlp-residual", |x, ctx| {{
                            let s = transcoders[ctx.layer];
                            let x = if s.w_skip == () {{ zeros_like(x) }} else {{ ctx[`read ${{ctx.layer}}`].matmul(s.w_skip) }};
                            if layer == ctx.layer {{ x[[0, position]] = x[[0, position]] + v; }}
                            x
                        }}),
                    ]);
                    let last = m.capture(ids, "post-final-layer-norm", ctx)[[0, -1]];
                    let u = m.unembedding();
                    let logits = last.matmul(u.w);
                    let read = [];
                    for node in g.nodes {{
                        read.push(if node.kind == "feature" {{
                            let s = transcoders[node.layer];
                            let scale = if s.rescale {{ s.w_dec[node.feature].norm() }} else {{ 1.0 }};
                            (ctx[`read ${{node.layer}}`][[0, node.position]].dot(s.w_enc[[.., node.feature]]) * scale).item()
                        }} else if node.kind == "logit" {{ (logits[node.token] - logits.mean()).item() }} else {{ 0.0 }});
                    }}
                    tensor(read)
                }};
                let nothing = pass.call(-1, 0, 0.0);
                for kind in ["embedding", "feature", "error"] {{
                    let i = 0;
                    while g.nodes[i].kind != kind || g.nodes[i].position < 2 {{ i += 1; }}
                    let node = g.nodes[i];
                    let v = if kind == "embedding" {{ embeddings[[0, node.position]] }} else {{
                        let s = transcoders[node.layer];
                        let here = g.nodes.filter(|other| other.kind == "feature" && other.layer == node.layer && other.position == node.position);
                        let written = |f| {{
                            let w = s.w_dec[f.feature];
                            w * f.activation / if s.rescale {{ w.norm() }} else {{ 1.0 }}
                        }};
                        if kind == "feature" {{ written.call(node) }} else {{
                            let error = residuals[[node.layer, 0, node.position]];
                            if s.w_skip != () {{ error = error - m.capture(ids, "pre-mlp")[[node.layer, 0, node.position]].matmul(s.w_skip); }}
                            for f in here {{ error = error - written.call(f); }}
                            error
                        }}
                    }};
                    let alone = pass.call(node.layer, node.position, v) - nothing;
                    print(((alone - g.edges[[.., i]]).abs().max() / size).item());
                    print(if (alone.abs() > 1e-3 * size).count_nonzero().item() > 5 {{ 0.0 }} else {{ 1.0 }});
                }}"##
            ),
            &["--model", &model],
        )
        .ok();
        let found: Vec<f32> = ran.stdout().lines().map(|line| line.parse().unwrap()).collect();
        assert!(found.len() == 7 && found.iter().all(|off| *off < 2e-6), "{model}: {found:?}");
    }
}

/// The same graph by hand: two tokens, one feature of each of two layers, an error, two logits.
#[test]
fn a_graph_is_pruned_and_scored_as_by_hand() {
    let ran = script(
        r#"
        import "lib/attribution" as attribution;
        let node = |kind, layer, p| #{kind: kind, layer: layer, position: 0, probability: p};
        let g = #{
            nodes: [
                node.call("embedding", -1, ()), node.call("embedding", -1, ()), node.call("feature", 0, ()), node.call("error", 0, ()),
                node.call("feature", 1, ()), node.call("logit", 2, 0.75), node.call("logit", 2, 0.25),
            ],
            edges: zeros([7, 7]),
        };
        g.edges[[2, 0]] = 3.0;
        g.edges[[2, 1]] = -1.0;
        g.edges[[4, 2]] = 1.0;
        g.edges[[4, 3]] = -1.0;
        g.edges[[5, 4]] = 2.0;
        g.edges[[6, 0]] = 4.0;
        print(attribution::influence(g).to_array());
        let scores = attribution::scores(g);
        print([scores.replacement, scores.completeness]);
        let left = attribution::prune(g, #{nodes: 0.6, edges: 1.0});
        print(left.kept.to_array());
        let left = attribution::prune(g, #{nodes: 1.0, edges: 0.6});
        print(left.kept.to_array());
        print(left.edges.nonzero().to_array());
        "#,
        &[],
    )
    .ok();
    // The second feature has the first logit's 0.75, half of it from the first feature and half from the
    // error; the first token has 3/4 of the first feature's, and all of the second logit's.
    let expected = [
        "[0.53125, 0.09375, 0.375, 0.375, 0.75, 0.0, 0.0]",
        // Nodes that read weigh 0.375, 0.75, 0.75 and 0.25; of the second feature's inputs half are errors.
        "[0.625, 0.8235294117647058]",
        // The second feature alone has enough, and reads nothing that is left.
        "[true, true, false, false, false, true, true]",
        // Edges carry 0.75, 0.375 and 0.375, and less into the first feature, which is then left out.
        "[true, true, false, true, true, true, true]",
        "[[4, 3], [5, 4]]",
    ];
    let printed = ran.stdout();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines, expected);
}

#[test]
fn mistakes_are_said() {
    for (call, sentence) in [
        (
            "attribution::trace(m, [], ids)",
            "a graph takes one transcoder for each of 4 layers, not 0",
        ),
        ("attribution::trace(m, transcoders, ids[0])", "a graph is of one prompt"),
        (
            "transcoders[1].kind = \"gated\"; attribution::trace(m, transcoders, ids)",
            "transcoder 1 is not linear",
        ),
        (
            "transcoders[2].layer = 1; attribution::trace(m, transcoders, ids)",
            "transcoder 2 must give mlp-residual of layer 2",
        ),
        ("attribution::trace(m, transcoders, ids, #{logit: 1})", "trace has no option logit"),
    ] {
        let ran = script(&format!("{RANDOM}\n{call};"), &[]);
        assert_eq!(ran.output.status.code(), Some(1), "{call}");
        assert!(ran.stderr().contains(sentence), "{call}\n{}", ran.stderr());
    }
}

/// The graph is whole, and what it says holds in the model: without a feature that it keeps the answer
/// changes much more than without one that it does not, and influence goes with effect.
#[test]
fn attribution_graph() {
    for model in DEMOS {
        let ran = run_with(
            "attribution_graph",
            model,
            &["--set", "steps=10", "--set", "features=64", "--set", "k=6", "--set", "nodes=0.9"],
        );
        let graph = ran.tensors("graph.safetensors");
        let sums = (graph["edges"].sum(1).unwrap() + &graph["biases"]).unwrap();
        let flat = |name: &str| graph[name].to_vec1::<f32>().unwrap();
        let (sums, values): (Vec<f32>, _) = (sums.to_vec1().unwrap(), flat("values"));
        let size = values.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        assert!(values.len() > 150 && size > 5.0, "{model}: {size}");
        for (sum, value) in sums.iter().zip(&values) {
            assert!((sum - value).abs() < 1e-5 * size, "{model}: {sum} {value}");
        }

        let text = std::fs::read_to_string(ran.file("nodes.csv")).unwrap();
        let (mut kept, mut others, mut points) = (vec![], vec![], vec![]);
        for line in text.lines().filter(|line| line.contains(",feature,")) {
            let cells: Vec<&str> = line.rsplitn(4, ',').collect();
            let number = |at: usize| cells[at].parse::<f64>().unwrap();
            let effect = number(0).abs();
            if cells[1] == "true" { &mut kept } else { &mut others }.push(effect);
            points.push((number(2), effect));
        }
        let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
        assert!((3..60).contains(&kept.len()), "{model}: {} of {}", kept.len(), points.len());
        assert!(mean(&kept) > 4.0 * mean(&others), "{model}: {} {}", mean(&kept), mean(&others));
        let (x, y): (Vec<f64>, Vec<f64>) = points.into_iter().unzip();
        let centred = |of: &[f64]| of.iter().map(|value| value - mean(of)).collect::<Vec<_>>();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (x, y) = (centred(&x), centred(&y));
        let correlation = dot(&x, &y) / (dot(&x, &x) * dot(&y, &y)).sqrt();
        assert!(correlation > 0.4, "{model}: {correlation}");
    }
}
