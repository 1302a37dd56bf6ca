//! The shipped scripts that go backwards, on both demo models: each shows the effect that it is
//! there to show.

use std::collections::HashMap;

use candle_core::Tensor;

use crate::gallery::{DEMOS, flat, run};
use crate::run::Ran;

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

/// The cells of a shipped script's .csv, row by row, without the names of the columns.
fn rows(ran: &Ran, file: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(ran.file(file)).unwrap();
    let cells = |line: &str| line.split(',').map(str::to_owned).collect();
    text.lines().skip(1).map(cells).collect()
}

/// The numbers of the row that begins with `name`.
#[track_caller]
fn numbers(rows: &[Vec<String>], name: &str) -> Vec<f32> {
    let row = rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("{name}: {rows:?}"));
    row[1..].iter().map(|cell| cell.parse().unwrap()).collect()
}

#[test]
fn learned_steering() {
    for model in DEMOS {
        let rows = rows(&run("learned_steering", model), "steering.csv");
        let capitals_and_coins = |name: &str| numbers(&rows, name);
        let plain = capitals_and_coins("nothing");
        assert!(plain[0] >= 0.9 && plain[1] == 0.0, "{model}: {rows:?}");
        // Countries that it was not trained on turn too, and not because something was added.
        let learned = capitals_and_coins("the learned vector");
        assert!(learned[0] <= 0.1 && learned[1] >= 0.7, "{model}: {rows:?}");
        assert!(capitals_and_coins("a random vector")[1] <= 0.1, "{model}: {rows:?}");
    }
}

#[test]
fn linear_probe() {
    for model in DEMOS {
        let accuracies = &run("linear_probe", model).tensors("probe.safetensors")["accuracies"];
        let held_out = flat(&accuracies.get(1).unwrap());
        // The last token itself says nothing of the subject; attention brings it there.
        assert!(held_out[0] <= 0.6, "{model}: {held_out:?}");
        assert!(held_out[held_out.len() - 1] >= 0.95, "{model}: {held_out:?}");
    }
}

#[test]
fn tuned_lens() {
    for model in DEMOS {
        for row in rows(&run("tuned_lens", model), "kl.csv") {
            let [logit, tuned] = [1, 2].map(|at| row[at].parse::<f32>().unwrap());
            assert!(tuned < 0.5 * logit, "{model}, before block {}: {tuned} of {logit}", row[0]);
        }
    }
}

/// The shares of right answers before and after two capitals were exchanged.
fn exchanged(model: &str, rows: &[Vec<String>]) {
    let shares = |name: &str| numbers(rows, name);
    let two = shares("the two that changed");
    assert!(two[0] == 0.0 && two[1] == 1.0, "{model}: {rows:?}");
    for others in ["the other capitals", "the coins"] {
        let shares = shares(others);
        assert!(shares[0] >= 0.9 && shares[1] >= 0.6, "{model}: {rows:?}");
    }
}

#[test]
fn finetune() {
    for model in DEMOS {
        let ran = run("finetune", model);
        exchanged(model, &rows(&ran, "facts.csv"));
        let text = std::fs::read_to_string(ran.file("losses.json")).unwrap();
        let losses: HashMap<String, Vec<f32>> = serde_json::from_str(&text).unwrap();
        for (name, losses) in losses {
            assert!(losses[losses.len() - 1] < 0.2 * losses[0], "{model}: {name} {losses:?}");
        }
    }
}

#[test]
fn lora() {
    for model in DEMOS {
        let ran = run("lora", model);
        exchanged(model, &rows(&ran, "facts.csv"));
        // What is saved is an adapter: on the model it gives the same answers.
        let read = crate::run::script(
            r#"
            import "lib/world" as world;
            let m = model(param("model", ""));
            let adapted = m.with_adapter(param("adapter", ""));
            let tests = world::exchange(m).tests;
            print(world::accuracy(adapted, tests["the two that changed"], []));
            print(world::accuracy(adapted, tests["the other capitals"], []));
            "#,
            &[
                &format!("--set=model={model}"),
                &format!("--set=adapter={}", ran.file("").display()),
            ],
        )
        .ok();
        let shares: Vec<f32> = read.stdout().lines().map(|line| line.parse().unwrap()).collect();
        assert!(shares[0] == 1.0 && shares[1] >= 0.6, "{model}: {shares:?}");
    }
}
