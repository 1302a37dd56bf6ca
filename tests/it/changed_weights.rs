//! Models with other weights: what they compute, what they share, and gradients that reach them.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor, Var};
use precompute::hook::Unobserved;
use precompute::model::{Decoder, Input, Options};

use crate::binary::{Workplace, script};
use crate::fixture::{CASES, Fixture, Subject, difference, directory, subjects};
use crate::golden_gradient::{GoldenGradient, golden_gradients};

fn names(decoder: &Decoder) -> Vec<String> {
    decoder.checkpoint_names().used.keys().cloned().collect()
}

fn logits(decoder: &Decoder, input: &Input) -> Tensor {
    decoder.logits(input).unwrap()
}

fn loss(decoder: &Decoder, input: &Input) -> Tensor {
    let options = Options { loss: true, ..Options::default() };
    decoder.forward(input, &options, &mut Unobserved).unwrap().loss.unwrap()
}

fn bits(x: &Tensor) -> Vec<u32> {
    let x = x.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
    x.to_vec1::<f32>().unwrap().iter().map(|x| x.to_bits()).collect()
}

/// Another tensor of the same size: no entry is the same, and none is far from what it was.
fn moved(weight: &Tensor, by: f64) -> Tensor {
    let count = weight.elem_count();
    let shift: Vec<f64> = (0..count).map(|i| by * (1.0 + (i as f64 * 0.7).sin())).collect();
    let shift = Tensor::from_vec(shift, weight.shape(), weight.device()).unwrap();
    (weight + shift.to_dtype(weight.dtype()).unwrap()).unwrap()
}

/// The model loaded from a checkpoint that has the given tensors, as far as it has their names.
fn loaded_with(subject: &Subject, changed: &BTreeMap<String, Tensor>) -> Decoder {
    subject.with(|name, weight| changed.get(name).cloned().unwrap_or(weight))
}

/// The names whose tensors a change of `name` changes: two if it is tied and stored twice.
fn ends(subject: &Subject, name: &str, tensor: &Tensor) -> BTreeMap<String, Tensor> {
    let changed = BTreeMap::from([(name.to_owned(), tensor.clone())]);
    subject.decoder.with_weights(changed).unwrap().changed_weights().clone()
}

/// Whether a weight may have no effect and no gradient: that of an expert which no token has, or what
/// experts are chosen by.
fn is_of_a_mixture(decoder: &Decoder, name: &str) -> bool {
    decoder.spec().experts.is_some() && name.contains(".mlp.")
}

/// The block that a weight is of: the number in its name.
fn block(name: &str) -> Option<usize> {
    name.split('.').find_map(|part| part.parse().ok())
}

#[test]
fn a_changed_weight_is_what_a_checkpoint_with_it_gives_to_the_last_bit() {
    for subject in subjects() {
        let all: BTreeMap<String, Tensor> = names(&subject.decoder)
            .into_iter()
            .map(|name| (name.clone(), subject.weight(&name)))
            .collect();
        let before = logits(&subject.decoder, &subject.input);
        let mut embeddings = None;
        let mut same = BTreeMap::new();
        for (name, weight) in &all {
            // One block stands for all, which are loaded alike.
            if block(name).is_some_and(|block| block != 1) {
                same.insert(name.clone(), weight.clone());
                continue;
            }
            let changed = ends(&subject, name, &moved(weight, 0.01));
            let other = subject.decoder.with_weights(changed.clone()).unwrap();
            let expected = logits(&loaded_with(&subject, &changed), &subject.input);
            let got = logits(&other, &subject.input);
            assert_eq!(bits(&got), bits(&expected), "{}: {name}", subject.name);
            // A key's bias adds the same to all scores of a query.
            assert!(
                difference(&got, &before) > 0.0
                    || name.ends_with("k_proj.bias")
                    || is_of_a_mixture(&subject.decoder, name),
                "{}: {name} has no effect",
                subject.name
            );
            if changed.len() == 2 {
                embeddings.get_or_insert_with(|| weight.clone());
            }
            let one = match (&embeddings, changed.len()) {
                (Some(tied), 2) => tied.clone(),
                _ => weight.clone(),
            };
            same.insert(name.clone(), one);
        }
        let same = subject.decoder.with_weights(same).unwrap();
        assert_eq!(bits(&logits(&same, &subject.input)), bits(&before), "{}", subject.name);
        // The model that they were made from is what it was.
        assert_eq!(bits(&logits(&subject.decoder, &subject.input)), bits(&before));
    }
}

#[test]
fn a_variable_is_followed_in_every_later_pass() {
    for subject in subjects() {
        let variables: BTreeMap<String, Var> = names(&subject.decoder)
            .into_iter()
            .filter(|name| ends(&subject, name, &subject.weight(name)).len() == 1)
            .map(|name| (name.clone(), Var::from_tensor(&subject.weight(&name)).unwrap()))
            .collect();
        let tensors = |variables: &BTreeMap<String, Var>| -> BTreeMap<String, Tensor> {
            variables.iter().map(|(name, v)| (name.clone(), v.as_tensor().clone())).collect()
        };
        let model = subject.decoder.with_weights(tensors(&variables)).unwrap();
        assert!(model.has_variables() && !subject.decoder.has_variables());
        let close = |what: &str, model: &Decoder, expected: &Decoder| {
            let (got, expected) = (logits(model, &subject.input), logits(expected, &subject.input));
            let off = difference(&got, &expected);
            assert!(off <= 1e-4, "{}, {what}: off by {off}", subject.name);
        };
        close("before", &model, &subject.decoder);
        for (at, variable) in variables.values().enumerate() {
            variable.set(&moved(&variable.as_detached_tensor(), 0.002 * (at % 3) as f64)).unwrap();
        }
        let now: BTreeMap<String, Tensor> =
            tensors(&variables).iter().map(|(n, t)| (n.clone(), t.detach())).collect();
        close("after", &model, &loaded_with(&subject, &now));
        close("detached", &model.detached().unwrap(), &loaded_with(&subject, &now));
        assert!(!logits(&model.detached().unwrap(), &subject.input).track_op());
    }
}

/// In float64, with regard to every tensor of the checkpoint at once, along a direction.
#[test]
fn gradients_of_weights_are_what_differences_of_the_loss_say() {
    for subject in subjects() {
        let decoder = subject.reload(DType::F64);
        let weights: BTreeMap<String, Tensor> = names(&decoder)
            .into_iter()
            .map(|name| (name.clone(), subject.weight(&name).to_dtype(DType::F64).unwrap()))
            .filter(|(name, weight)| ends(&subject, name, weight).len() == 1)
            .collect();
        let variables: BTreeMap<String, Var> =
            weights.iter().map(|(n, w)| (n.clone(), Var::from_tensor(w).unwrap())).collect();
        let tensors = variables.iter().map(|(n, v)| (n.clone(), v.as_tensor().clone())).collect();
        let model = decoder.with_weights(tensors).unwrap();
        // A loss is float32 in every model; these sums are float64.
        let sum = |decoder: &Decoder| {
            let logits = logits(decoder, &subject.input);
            let by = moved(&logits.detach().zeros_like().unwrap(), 1.0);
            (logits * by).unwrap().sum_all().unwrap()
        };
        let gradients = sum(&model).backward().unwrap();
        for (name, weight) in &weights {
            let gradient = match gradients.get(&variables[name]) {
                Some(gradient) => gradient,
                None if is_of_a_mixture(&decoder, name) => &weight.zeros_like().unwrap(),
                None => panic!("{}: no gradient reaches {name}", subject.name),
            };
            let direction = (moved(&weight.zeros_like().unwrap(), 1.0) - 1.0).unwrap();
            let at = |step: f64| {
                let there = (weight + (&direction * step).unwrap()).unwrap();
                let there = BTreeMap::from([(name.clone(), there)]);
                let there = decoder.with_weights(there).unwrap();
                sum(&there).to_scalar::<f64>().unwrap()
            };
            let step = 1e-7;
            let slope = (at(step) - at(-step)) / (2.0 * step);
            let told = (gradient * &direction).unwrap().sum_all().unwrap();
            let told = told.to_scalar::<f64>().unwrap();
            let off = (told - slope).abs() / slope.abs().max(0.1);
            assert!(off < 1e-3, "{}: {name}: {told}, and differences say {slope}", subject.name);
        }
    }
}

#[test]
fn gradients_of_weights_are_pytorchs() {
    let mut checked = 0;
    for case in CASES {
        let fixture = Fixture::load(case);
        let goldens = golden_gradients(case);
        let goldens: BTreeMap<&str, &GoldenGradient> = goldens
            .iter()
            .filter_map(|(key, golden)| Some((key.strip_prefix("weight/")?, golden)))
            .collect();
        let variables: BTreeMap<String, Var> = goldens
            .keys()
            .map(|&name| (name.to_owned(), Var::from_tensor(&fixture.weight(name)).unwrap()))
            .collect();
        let tensors = variables.iter().map(|(n, v)| (n.clone(), v.as_tensor().clone())).collect();
        let model = fixture.decoder.with_weights(tensors).unwrap();
        let gradients = loss(&model, &fixture.input()).backward().unwrap();
        let largest_of_all = goldens.values().map(|golden| golden.largest).fold(0.0, f32::max);
        for (name, golden) in goldens {
            let gradient = gradients.get(&variables[name]).unwrap();
            // A key's bias adds the same to all scores of a query: its true gradient is 0.
            let largest = match name.ends_with("k_proj.bias") {
                true => largest_of_all,
                false => golden.largest,
            };
            let off = golden.difference(gradient) / largest;
            assert!(off <= 1e-4, "{case}: {name} is off by {off} of the largest");
            checked += 1;
        }
    }
    assert!(checked > 250, "{checked}");
}

/// What a script prints that has a model and ids.
fn said(body: &str) -> (Option<i32>, String, String) {
    let start = "let m = model(\"demo:opt\"); let ids = m.encode(\"When Mary and John went to\");";
    let ran = script(&format!("{start}\n{body}"));
    (ran.code, ran.stdout, ran.stderr)
}

#[test]
fn scripts_make_models_with_other_weights() {
    for (body, expected) in [
        (
            r#"let n = m.with_weights(#{"*": |w| w}); (n.forward(ids).logits - m.forward(ids).logits).abs().max().item()"#,
            "0.0",
        ),
        // What is written into a tensor later does not show in the model.
        (
            r#"let name = "model.decoder.layers.0.fc2.weight"; let n = m.with_weights(#{});
            let w = m.weight(name); let half = w * 0.5; let view = half.reshape([-1]);
            let o = n.with_weights(#{"model.decoder.layers.0.fc2.weight": half});
            half *= 3.0; view[0] = 7.0;
            [(o.weight(name) * 2.0 - m.weight(name)).abs().max().item(), (m.mlp(0).w_out * 0.5 - o.mlp(0).w_out).abs().max().item()]"#,
            "[0.0, 0.0]",
        ),
        (
            r#"let n = m.with_weights(#{"*.layers.*.fc2.*": |w| w * 0.0}); n.capture(ids, "mlp-residual").abs().max().item()"#,
            "0.0",
        ),
        // Reuse does not serve one model's state to another.
        (
            r#"let a = m.capture(ids, "post-mlp"); let n = m.with_weights(#{"*.0.fc2.bias": |w| w + 1.0});
            let b = n.capture(ids, "post-mlp"); let c = m.capture(ids, "post-mlp");
            [(a - b).abs().max().item() > 0.5, (a - c).abs().max().item()]"#,
            "[true, 0.0]",
        ),
        // A tied weight changes at both its ends.
        (
            r#"let n = m.with_weights(#{"*.embed_tokens.*": |w| w * 0.0}); n.forward(ids).logits.abs().max().item()"#,
            "0.0",
        ),
        (
            r#"`${m.with_weights(#{"*.0.fc2.*": |w| w})}`"#,
            "model demo:opt (opt, 4 layers of 128, f32 on cpu, 2 weights of its own)",
        ),
        (r#"m.with_weights(#{"*.0.fc2.*": |w| w}).id"#, "demo:opt"),
        (
            r#"let t = m.trainable(["*.0.fc2.*", "*.embed_tokens.weight"]); let n = t.model;
            [t.variables.len(), t.variables["model.decoder.layers.0.fc2.bias"].dtype, (n.forward(ids).logits.detach() - m.forward(ids).logits).abs().max().item() < 1e-5]"#,
            r#"[3, "f32", true]"#,
        ),
        (
            r#"let a = m.reset_weights(#{seed: 3}); let b = m.reset_weights(#{seed: 3}); let c = m.reset_weights(#{seed: 4});
            let off = |x, y| (x.forward(ids).logits - y.forward(ids).logits).abs().max().item();
            [off.call(a, b), off.call(a, c) > 0.0, off.call(a, m) > 0.0]"#,
            "[0.0, true, true]",
        ),
        (
            r#"seed(1); let a = m.reset_weights(); seed(1); let b = m.reset_weights(); let c = m.reset_weights();
            [(a.embedding() - b.embedding()).abs().max().item(), (a.embedding() - c.embedding()).abs().max().item() > 0.0]"#,
            "[0.0, true]",
        ),
        (
            r#"let t = m.trainable("*.0.*"); let plan = #{max_new_tokens: 3}; t.model.generate(ids, plan).text == m.generate(ids, plan).text"#,
            "true",
        ),
    ] {
        let (code, out, err) = said(body);
        assert_eq!((code, out.trim_end()), (Some(0), expected), "{body}\n{err}");
    }
}

/// Each says its sentence.
#[test]
fn what_can_not_be_a_weight_is_said() {
    let bias =
        |value: &str| format!("m.with_weights(#{{\"model.decoder.layers.0.fc2.bias\": {value}}})");
    let cases = [
        (
            r#"m.with_weights(#{"model.decoder.layers.0.fc1.wieght": |w| w})"#.to_owned(),
            "did you mean model.decoder.layers.0.fc1.weight",
        ),
        (
            r#"m.with_weights(#{"fc1.weight": |w| w})"#.into(),
            "the checkpoint has no weight \"fc1.weight\"",
        ),
        (
            r#"m.with_weights(#{"*.fc9.*": |w| w})"#.into(),
            "no weight of the checkpoint is called \"*.fc9.*\"",
        ),
        (r#"m.with_weights(#{"*.fc2.*": zeros([2])})"#.into(), "a tensor is one of them"),
        (
            r#"m.with_weights(#{"*.0.fc2.bias": |w| w, "*.fc2.bias": |w| w})"#.into(),
            "is meant by \"*.0.fc2.bias\" and by \"*.fc2.bias\"",
        ),
        (bias("|w| 3"), "a function that gives one, and not 3"),
        (bias("|w| throw \"nothing\""), "nothing"),
        (bias("1.0"), "a function that gives one, and not 1.0"),
        (bias("zeros([3])"), "the weight is [128], and the tensor [3]"),
        (bias("zeros([128], #{dtype: \"i64\"})"), "a weight is of a float dtype, not i64"),
        (bias("fft(zeros([128]))"), "complex"),
        (r#"m.trainable("*.fc9.*")"#.into(), "no weight of the checkpoint is called \"*.fc9.*\""),
        (r#"m.trainable("fc1")"#.into(), "did you mean"),
        ("m.trainable(3)".into(), "trainable takes the pattern of weights' names"),
        ("m.reset_weights(#{sed: 3})".into(), "did you mean seed"),
        ("m.reset_weights(#{seed: -3})".into(), "a seed is 0 or more"),
    ];
    for (body, expected) in cases {
        let (code, _, err) = said(&body);
        assert!(code == Some(1) && err.contains(expected), "{body}\n{err}");
    }
}

#[test]
fn a_model_with_other_weights_is_saved_and_read_again() {
    let ids = CASES.iter().map(|case| directory(case).display().to_string());
    for id in ids.chain(["demo:opt".into()]) {
        let here = Workplace::new(&[(
            "s.rhai",
            r#"
            let m = model(param("model", "demo:opt"));
            let ids = m.encode("When Mary and John");
            let same = |a, b| (a.forward(ids).logits - b.forward(ids).logits).abs().max().item() == 0.0;
            let n = m.reset_weights(#{seed: 1});
            print(same.call(model(n.save("reset")), n));
            print(same.call(model(m.trainable("*").model.save("same")), m));
            "#,
        )]);
        let ran = here.run(&["run", "s.rhai", "--set", &format!("model={id}"), "--out", "out"]);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(0), "true\ntrue\n"),
            "{id}: {}",
            ran.stderr
        );
    }
}

/// As transformers' `_init_weights` does it.
#[test]
fn weights_are_drawn_as_the_family_draws_them() {
    let drawn = |case: &str, name: &str, what: &str| {
        let ran = script(&format!(
            "let m = model({:?}); let n = m.reset_weights(#{{seed: 5}}); \
             let w = n.weight(n.weights({name:?}).keys()[0]); {what}",
            directory(case).display().to_string()
        ));
        assert_eq!(ran.code, Some(0), "{case}: {}", ran.stderr);
        ran.stdout.trim().parse::<f64>().unwrap()
    };
    // The configs of the fixtures have initializer_range or init_std 0.15, and GPT-2's 3 layers.
    for (case, name, std) in [
        ("opt", "*.0.fc1.weight", 0.15),
        ("opt", "*embed_positions.weight", 0.15),
        ("gpt2", "*h.0.attn.c_attn.weight", 0.15),
        ("gpt2", "*h.0.attn.c_proj.weight", 0.15 / 6f64.sqrt()),
        ("gpt2", "*h.1.mlp.c_proj.weight", 0.15 / 6f64.sqrt()),
        ("gpt-neox", "*embed_in.weight", 0.15),
        ("llama", "lm_head.weight", 0.15),
    ] {
        let got = drawn(case, name, "w.std().item()");
        assert!((got / std - 1.0).abs() < 0.1, "{case}: {name}: {got}");
        assert!(drawn(case, name, "w.mean().item()").abs() < 0.1 * std, "{case}: {name}");
    }
    for (case, name, value) in [
        ("opt", "*.0.fc1.bias", 0.0),
        ("opt", "*.0.final_layer_norm.weight", 1.0),
        ("gemma2", "*.0.input_layernorm.weight", 0.0),
        ("llama", "*.0.input_layernorm.weight", 1.0),
    ] {
        assert_eq!(drawn(case, name, "w.min().item()"), value, "{case}: {name}");
        assert_eq!(drawn(case, name, "w.max().item()"), value, "{case}: {name}");
    }
    // The padding token's row, in families that have one.
    assert_eq!(drawn("opt", "*embed_tokens.weight", "w[1].abs().max().item()"), 0.0);
    assert_eq!(drawn("gemma2", "*embed_tokens.weight", "w[0].abs().max().item()"), 0.0);
    assert!(drawn("gpt-neox", "*embed_in.weight", "w[0].abs().max().item()") > 0.0);
}
