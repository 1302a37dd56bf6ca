//! Parts of the stream sum to what the unembedding reads, and to the logit difference, in every
//! family.

use std::collections::HashMap;

use candle_core::Tensor;

use crate::fixture::{CASES, directory};
use crate::run::{precompute, script};

const TOLERANCE: f32 = 1e-4;

fn sum(t: &Tensor) -> f32 {
    t.sum_all().unwrap().to_scalar().unwrap()
}

fn models() -> Vec<String> {
    let fixtures = CASES.iter().map(|case| directory(case).to_str().unwrap().to_owned());
    fixtures.chain(["demo:opt", "demo:gpt-neox"].map(str::to_owned)).collect()
}

#[test]
fn the_parts_are_what_the_unembedding_reads() {
    for model in models() {
        let ran = script(
            r#"
            import "lib/lens" as lens;
            let m = model(param("model", "demo:opt"));
            let ids = m.encode("When Mary and John went to the store");
            for at in [-1, 3] {
                let parts = lens::contributions(m, ids, at);
                let all = parts.embeddings + parts.heads.sum([0, 1]) + parts.mlps.sum(0) + parts.biases;
                let read = m.capture(ids, "post-final-layer-norm")[[0, at]];
                save(`at${at}`, #{all: all, read: read});
            }
            "#,
            &["--model", &model],
        )
        .ok();
        for at in ["at-1", "at3"] {
            let both = ran.tensors(&format!("{at}.safetensors"));
            let difference = crate::fixture::difference(&both["all"], &both["read"]);
            assert!(difference <= TOLERANCE, "{model}: {at} is off by {difference}");
        }
    }
}

#[test]
fn direct_logit_attribution_sums_to_the_logit_difference() {
    for model in models() {
        let here = tempfile::tempdir().unwrap();
        let ran = precompute(here.path())
            .args(["run", "direct_logit_attribution", "--model", &model, "--out", "out"])
            .output()
            .unwrap();
        assert!(ran.status.success(), "{model}: {}", String::from_utf8_lossy(&ran.stderr));
        let file = here.path().join("out/attribution.safetensors");
        let parts: HashMap<String, Tensor> =
            candle_core::safetensors::load(file, &candle_core::Device::Cpu).unwrap();
        let all: f32 =
            ["heads", "mlps", "embeddings", "biases"].iter().map(|part| sum(&parts[*part])).sum();
        let difference = sum(&parts["difference"]);
        assert!((all - difference).abs() <= TOLERANCE, "{model}: {all} and {difference}");
        assert!(difference.abs() > 1e-2, "{model}: there is nothing to attribute");
    }
}

/// By the logits of passes: where they are capped, by what they were before.
#[test]
fn the_difference_is_that_of_the_logits() {
    for model in models() {
        let ran = script(
            r#"
            import "lib/indirect_objects" as ioi;
            let m = model(param("model", "demo:opt"));
            let pair = ioi::pairs_of(m)[0];
            let ids = m.encode(pair.clean);
            let u = m.unembedding();
            let of = |id| u.b[id].item();
            let bias = of.call(m.token_id(pair.right)) - of.call(m.token_id(pair.wrong));
            let by_direction = m.capture(ids, "post-final-layer-norm")[[0, -1]].dot(ioi::direction(m, pair)).item() + bias;
            let logits = m.forward(ids).logits;
            if m.config.model_type == "gemma2" {
                let share = logits / m.config.final_logit_softcapping;
                logits = ((1.0 + share) / (1.0 - share)).log() * 0.5 * m.config.final_logit_softcapping;
            }
            save("both", tensor([by_direction, ioi::logit_difference(m, logits, pair)]));
            "#,
            &["--model", &model],
        )
        .ok();
        let both: Vec<f32> =
            ran.tensor("both").to_dtype(candle_core::DType::F32).unwrap().to_vec1().unwrap();
        assert!(
            (both[0] - both[1]).abs() <= TOLERANCE * both[1].abs().max(1.0),
            "{model}: {both:?}"
        );
    }
}
