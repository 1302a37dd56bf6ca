//! `lib/full_circuits` against the matrices of v × v that it does not make.

use crate::fixture::directory;
use crate::gallery::{DEMOS, peak, run};
use crate::run::script;

/// Scripts that print how far two ways of computing differ, or are numbers that must be 0.
fn zeros(case: &str, body: &str) {
    let text = format!(
        r#"import "lib/full_circuits" as full;
        let m = model(param("model", "demo:opt"));
        let layer = m.config.num_hidden_layers - 1;
        let head = m.config.num_attention_heads - 1;
        let ov = full::ov(m, layer, head);
        let qk = full::qk(m, layer, head);
        fn apart(a, b) {{ ((a - b).abs().max() / b.abs().max()).item() }}
        {body}"#
    );
    let ran = script(&text, &["--model", directory(case).to_str().unwrap()]).ok();
    let off: Vec<f64> = ran.stdout().lines().map(|line| line.parse().unwrap()).collect();
    assert!(!off.is_empty() && off.iter().all(|off| off.abs() <= 1e-4), "{case}: {off:?}");
}

const CASES: [&str; 6] = ["opt", "gpt2", "llama", "falcon-grouped", "gemma2", "olmo2"];

/// The norms' scales apart, a token's factors are what the head's own projections make of it.
#[test]
fn the_factors_are_those_of_the_heads_weights() {
    for case in CASES {
        zeros(
            case,
            r#"
            let w = m.heads(layer);
            let kv = m.config.num_key_value_heads - 1;
            let norms = m.norms(layer);
            let bias = if norms.attn.b == () { 0.0 } else { norms.attn.b };
            let tokens = m.embedding();
            let read = if norms.place == "outputs" { tokens } else { m.attn_norm(layer, tokens.unsqueeze(0))[0] - bias };
            fn unit(x) { x / (x.norm(#{dim: -1, keepdim: true}) + 1e-9) }
            print(apart(unit(ov.left), unit(read.matmul(w.w_v[kv]))));
            print(apart(unit(qk.left), unit(read.matmul(w.w_q[head]))));
            print(apart(unit(qk.right.T), unit(read.matmul(w.w_k[kv]))));
            // What the head writes, through the final norm without its bias, and the unembedding.
            let last = m.norms().final;
            let written = if norms.post_attn == () { w.w_o[head] } else { w.w_o[head] * norms.post_attn.w };
            let out = m.final_norm(written.unsqueeze(0))[0] - if last.b == () { 0.0 } else { last.b };
            let logits = out.matmul(m.unembedding().w);
            print(apart(unit(ov.right), unit(logits - logits.mean(1, #{keepdim: true}))));
            "#,
        );
    }
}

#[test]
fn eigenvalues_rows_and_largest_entries_are_those_of_the_whole_matrix() {
    for case in CASES {
        zeros(
            case,
            r#"
            for circuit in [ov, qk] {
                let whole = circuit.left.to("f64").matmul(circuit.right.to("f64"));
                let values = full::eigenvalues(circuit);
                let size = whole.norm();
                // The sums of the powers of the eigenvalues are the traces of the powers.
                print(((values.real.sum() - whole.trace()) / size).item());
                let squared = whole.matmul(whole);
                print((((values ** 2).real.sum() - squared.trace()) / size ** 2).item());
                print((((values ** 3).real.sum() - (squared * whole.T).sum()) / size ** 3).item());
                print((((values ** 4).real.sum() - (squared * squared.T).sum()) / size ** 4).item());
                print(apart(full::rows(circuit, tensor([3, 0])), whole[[[3, 0]]]));
                let top = full::largest(circuit, 9);
                let flat = whole.flatten().topk(9);
                print(apart(top.values, flat.values));
                print((top.rows * whole.shape[1] + top.columns - flat.indices).abs().max().item());
                let own = (whole.argmax(1) == arange(whole.shape[0])).to("f64").mean().item();
                print(full::own_first(circuit) - own);
            }
            "#,
        );
    }
}

/// The heads that complete repeated tokens copy, those of random weights do not.
#[test]
fn copying_scores() {
    for model in DEMOS {
        let induction =
            peak(&run("induction_heads", model).tensors("scores.safetensors")["induction"]);
        let scores = run("copying_scores", model).tensors("copying.safetensors");
        let of = |name: &str| -> Vec<Vec<f32>> { scores[name].to_vec2().unwrap() };
        let copying = of("copying")[induction.0][induction.1];
        assert!(copying > 0.5, "{model}: head {induction:?}: {copying}");
        let random = of("random weights").concat();
        assert!(random.iter().all(|score| score.abs() < 0.2), "{model}: {random:?}");
        // By chance one token of some 840 raises itself most.
        let own = of("own token first")[induction.0][induction.1];
        assert!(own > 0.01, "{model}: {own}");
    }
}
