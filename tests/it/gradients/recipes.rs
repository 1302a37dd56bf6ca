//! The shipped scripts that go backwards, on both demo models: each shows the effect that it is
//! there to show.

use std::collections::HashMap;

use candle_core::Tensor;

use crate::gallery::{DEMOS, flat, run};

/// Pearson's correlation of two lists.
fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let centred = |of: &[f32]| -> Vec<f64> {
        let mean = of.iter().map(|&x| f64::from(x)).sum::<f64>() / of.len() as f64;
        of.iter().map(|&x| f64::from(x) - mean).collect()
    };
    let (a, b) = (centred(a), centred(b));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

#[test]
fn attribution_patching() {
    for model in DEMOS {
        let ran = run("attribution_patching", model);
        let (by_gradient, by_patching) =
            (ran.tensors("by_gradient.safetensors"), ran.tensors("by_patching.safetensors"));
        let all = |parts: &HashMap<String, Tensor>| -> Vec<f32> {
            let mut points: Vec<&String> = parts.keys().collect();
            points.sort();
            points.into_iter().flat_map(|point| flat(&parts[point])).collect()
        };
        let (a, b) = (all(&by_gradient), all(&by_patching));
        assert!(a.len() > 1000 && b.iter().any(|effect| *effect > 1.0), "{model}");
        assert!(correlation(&a, &b) >= 0.9, "{model}: {}", correlation(&a, &b));
        for point in ["pre-block", "attn-residual", "value-states", "mlp-residual"] {
            let of_point = correlation(&flat(&by_gradient[point]), &flat(&by_patching[point]));
            assert!(of_point >= 0.9, "{model}: {point} {of_point}");
        }
    }
}

#[test]
fn integrated_gradients() {
    for model in DEMOS {
        let ran = run("integrated_gradients", model);
        let found = ran.tensors("shares.safetensors");
        let (shares, whole) = (flat(&found["shares"]), flat(&found["whole"])[0]);
        let sum: f32 = shares.iter().sum();
        assert!(whole > 1.0 && (sum - whole).abs() <= 1e-3 * whole, "{model}: {sum} of {whole}");
        // The answer's name speaks for it, and where it first stands the other one against it.
        let n = shares.len();
        assert!(shares[n - 13] > 1.0 && shares[n - 11] < -1.0, "{model}: {shares:?}");
    }
}

#[test]
fn saliency() {
    for model in DEMOS {
        let ran = run("saliency", model);
        let found = ran.tensors("saliency.safetensors");
        // What the gradient says would turn the choice most does turn it.
        let (foretold, swapped) = (flat(&found["foretold"]), flat(&found["swapped"]));
        let most =
            (0..foretold.len()).min_by(|&a, &b| foretold[a].total_cmp(&foretold[b])).unwrap();
        assert!(swapped[most] < 0.0, "{model}: {foretold:?} {swapped:?}");
        // The choice hangs on the names more than on the median token.
        let mut norms = flat(&found["norms"]);
        let n = norms.len();
        let (first, second, giver) = (norms[n - 13], norms[n - 11], norms[n - 5]);
        norms.sort_by(f32::total_cmp);
        assert!([first, second, giver].iter().all(|norm| *norm > norms[n / 2]), "{model}");
    }
}
