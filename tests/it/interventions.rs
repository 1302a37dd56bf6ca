//! The contract's own scripts, through the binary, against the goldens.

use candle_core::Tensor;

use crate::fixture::{CASES, difference, directory, golden};
use crate::run::{Ran, script};

const TOLERANCE: f32 = 1e-4;

/// Runs `body` on a fixture, with `m` the model and `ids` the goldens' input.
fn on(case: &str, body: &str) -> Ran {
    let model = directory(case);
    let read = model.to_str().unwrap();
    let script_text = format!(
        "let m = model(param(\"model\", \"demo:opt\"));\n\
         let ids = load_tensors(\"{read}/golden.safetensors\").ids;\n{body}"
    );
    script(&script_text, &["--model", read, "--read", read]).ok()
}

fn close(case: &str, what: &str, got: &Tensor, expected: &Tensor) {
    let difference = difference(got, expected);
    assert!(difference <= TOLERANCE, "{case}: {what} is off by {difference}");
}

#[test]
fn bidirectional_attention() {
    for case in CASES {
        let ran = on(
            case,
            r#"
            let hooks = [
                hook("pre-mask-attn-weights",  |x, ctx| { ctx.kept = x; }),
                hook("post-mask-attn-weights", |x, ctx| ctx.kept),
            ];
            save("logits", m.forward(ids, context(hooks)).logits);
            "#,
        );
        close(case, "bidirectional", &ran.tensor("logits"), &golden(case)["bidirectional"]);
    }
}

#[test]
fn a_high_pass_filter_on_what_attention_adds() {
    for case in CASES {
        let ran = on(
            case,
            r#"
            let results = #{};
            for cutoff in [0.1] {
                let cutoff = cutoff;
                let filter = hook("attn-residual", |x, ctx| {
                    let keep = fftfreq(x.shape[1]).abs() >= cutoff;
                    ifft(fft(x, #{dim: 1}) * keep.reshape([1, -1, 1]), #{dim: 1}).real
                });
                results[`${cutoff}`] = m.forward(ids, context([filter])).logits;
            }
            save("filtered", results);
            "#,
        );
        for (cutoff, logits) in ran.tensors("filtered.safetensors") {
            let key = format!("high_pass_attn_residual/{cutoff}");
            close(case, &key, &logits, &golden(case)[&key]);
        }
    }
}

#[test]
fn the_power_spectrum() {
    for case in CASES {
        let ran = on(
            case,
            r#"
            fn log_post_mlp(x, ctx) {
                if "post-mlp" !in ctx {
                    ctx["post-mlp"] = zeros([ctx.config.num_hidden_layers] + x.shape);
                }
                ctx["post-mlp"][ctx.layer] = x;
                x
            }
            let ctx = context([ hook("post-mlp", log_post_mlp) ]);
            let out = m.forward(ids, ctx);
            let fft = rfft(ctx["post-mlp"], #{dim: 2});
            let squares = (fft ** 2.0).mean([1, 3]);
            save("power", #{
                mean_power: (fft.abs() ** 2.0).mean([1, 3]),
                mean_of_squares_real: squares.real, mean_of_squares_imag: squares.imag,
                frequencies: rfftfreq(ids.shape[1]),
            });
            "#,
        );
        for (name, got) in ran.tensors("power.safetensors") {
            let golden = golden(case);
            let expected = &golden[&format!("power/{name}")];
            let largest = expected
                .abs()
                .unwrap()
                .flatten_all()
                .unwrap()
                .max(0)
                .unwrap()
                .to_scalar::<f32>()
                .unwrap();
            let difference = difference(&got, expected) / largest;
            assert!(
                difference <= TOLERANCE,
                "{case}: power/{name} is off by {difference} of the largest"
            );
        }
    }
}

#[test]
fn a_head_ablated_and_the_logit_lens() {
    for case in CASES {
        let ran = on(
            case,
            r#"
            let zero = hook("attn-weighted-values", |x, ctx| { x[[.., 1]] = 0.0; }, #{layers: -1});
            save("ablated", m.forward(ids, context([zero])).logits);
            save("lens", m.unembed(m.final_norm(m.capture(ids, "post-mlp"))));
            "#,
        );
        let golden = golden(case);
        close(
            case,
            "ablate_head_1_last_layer",
            &ran.tensor("ablated"),
            &golden["ablate_head_1_last_layer"],
        );
        let lens = ran.tensor("lens");
        for layer in 0..lens.dim(0).unwrap() {
            let expected = golden.get(&format!("logit_lens/{layer}"));
            // On the last block's output they give the logits.
            let expected = expected.unwrap_or_else(|| &golden["plain/logits"]);
            close(case, "logit lens", &lens.get(layer).unwrap(), expected);
        }
    }
}

#[test]
fn padding_on_either_side_and_the_last_token() {
    for case in CASES {
        let read = directory(case);
        let ran = on(
            case,
            &format!(
                r#"
            let g = load_tensors("{}/golden.safetensors");
            for side in ["left", "right"] {{
                let ids = g[`padded_${{side}}/ids`];
                let mask = g[`padded_${{side}}/mask`];
                let logits = m.forward(ids, #{{mask: mask}}).logits;
                let real = (mask == 1).unsqueeze(-1);
                save(side, (logits - g[`padded_${{side}}/logits`]).masked_fill(!real, 0.0));
            }}
            "#,
                read.display()
            ),
        );
        for side in ["left", "right"] {
            let difference = ran.tensor(side);
            close(case, side, &difference, &difference.zeros_like().unwrap());
        }
    }
}

#[test]
fn lenses_and_weights_work_in_every_family() {
    for case in CASES {
        let ran = on(
            case,
            r#"
            let points = ["post-pos-embeddings", "attn-residual", "mlp-residual", "post-mlp", "attn-weighted-values", "attn-head-outputs"];
            let seen = m.capture(ids, points);
            let last = m.config.num_hidden_layers - 1;

            // Direct attribution: what was added to the stream, and the stream it adds to.
            let added = seen["attn-residual"].sum(0) + seen["mlp-residual"].sum(0);
            let stream = seen["post-mlp"][last];
            let lens = m.unembed(m.final_norm(stream));

            // A head's output is its values through its own part of the output projection.
            let heads = m.heads(last);
            let z = seen["attn-weighted-values"][last];
            let each = einsum("bhnc,hcd->bhnd", z, heads.w_o);

            // Composition and singular vectors of what heads read and write.
            let group = m.config.num_attention_heads / m.config.num_key_value_heads;
            let w_v = heads.w_v.repeat_interleave(group, #{dim: 0});
            let ov = w_v.matmul(heads.w_o);
            let qk = heads.w_q.matmul(heads.w_k.repeat_interleave(group, #{dim: 0}).transpose(1, 2));
            let usv = svd(ov[0]);
            let again = usv.u.matmul(usv.s.unsqueeze(1) * usv.vh);
            save("seen", #{
                added: added + seen["post-pos-embeddings"], stream: stream,
                lens: lens, logits: m.forward(ids).logits,
                each: each, outputs: seen["attn-head-outputs"][last],
                ov: ov[0], again: again,
            });
            print([ov.shape, qk.shape] == [[ov.shape[0], m.config.hidden_size, m.config.hidden_size], ov.shape]);
            "#,
        );
        assert_eq!(ran.stdout(), "true\n", "{case}");
        let seen: std::collections::HashMap<String, Tensor> =
            ran.tensors("seen.safetensors").into_iter().collect();
        // Norms on the stream itself (OPT-350m) are no sum.
        if *case != "opt-post-norm" {
            close(case, "the sum of what is added", &seen["added"], &seen["stream"]);
        }
        for (a, b) in [("lens", "logits"), ("each", "outputs"), ("ov", "again")] {
            close(case, a, &seen[a], &seen[b]);
        }
    }
}
