//! Sparse autoencoders and transcoders: `lib/sae` against what tests/oracle/dictionaries.py computed of the
//! checkpoints that it wrote in every format.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use serde_json::{Value as Json, json};

use crate::fixture::directory;
use crate::gallery::{DEMOS, flat, run_with};
use crate::run::{Ran, script};

/// A script over the checkpoints, on the model that their goldens were made of.
fn run(body: &str) -> Ran {
    let text = format!(
        "import \"lib/sae\" as sae;\nlet m = model(param(\"model\", \"demo:opt\"));\n\
         let ids = load_tensors(\"golden.safetensors\").ids[0..1];\n{body}"
    );
    let (model, checkpoints) = (directory("gpt2"), directory("dictionaries"));
    let paths = [&model, &checkpoints].map(|path| path.to_str().unwrap());
    script(&text, &["--model", paths[0], "--read", paths[0], "--read", paths[1]])
}

/// Features, reconstruction, and what takes the place of the point, of every format and architecture;
/// and the same of what `save_as` wrote of them.
#[test]
fn every_format_gives_what_its_library_gives() {
    let ran = run(r#"
        let found = #{};
        let inputs = #{};
        for known in load_json("cases.json") {
            let options = if known.name.ends_with("expected-average") { #{norm_scaling_factor: 0.75} } else { #{} };
            let s = sae::load(known.folder, options);
            if [s.point, s.layer, s.from] != [known.point, 1, known.from] { throw `${known.name}: ${s.point} ${s.layer} ${s.from}`; }
            let x = sae::activations(s, m, ids);
            let f = sae::encode(s, x);
            let keep = |hooks| {
                let y = m.capture(ids, s.point, hooks, #{layers: 1});
                if s.heads { y.transpose(1, 2).flatten(2)[0] } else { y[0] }
            };
            found[`${known.name}/features`] = f[0];
            found[`${known.name}/decoded`] = sae::decode(s, f, x)[0];
            found[`${known.name}/spliced`] = keep.call(sae::splice(s, |f, ctx| f * 2.0));
            found[`${known.name}/spliced with error`] = keep.call(sae::splice(s, |f, ctx| { f *= 2.0; }, #{error: true}));
            if s.kind in ["groupmax", "batchtopk"] || s.transcoder && s.kind == "topk" { continue; }
            sae::save_as(s, known.name);
            inputs[known.name] = x[0];
        }
        save("found", found);
        save("inputs", inputs);
    "#).ok();
    let found = ran.tensors("found.safetensors");
    let goldens =
        candle_core::safetensors::load(directory("dictionaries/goldens.safetensors"), &Device::Cpu)
            .unwrap();
    assert_eq!(found.len(), 116, "29 checkpoints");
    compare(&goldens, &found);

    // What was written is read again, and is the same dictionary.
    let again = script(
        r#"
        import "lib/sae" as sae;
        let found = load_tensors("found.safetensors");
        let inputs = load_tensors("inputs.safetensors");
        let most = 0.0;
        for name in inputs.keys() {
            let s = sae::load(name);
            let f = sae::encode(s, inputs[name]);
            most = max(most, (f - found[`${name}/features`]).abs().max().item());
            most = max(most, (sae::decode(s, f, inputs[name]) - found[`${name}/decoded`]).abs().max().item());
        }
        print([inputs.len(), most < 1e-6]);
        "#,
        &["--read", ran.file("").to_str().unwrap()],
    )
    .ok();
    assert_eq!(again.stdout(), "[26, true]\n");
}

fn compare(goldens: &HashMap<String, Tensor>, found: &HashMap<String, Tensor>) {
    for (name, golden) in goldens {
        let difference = (golden - &found[name]).unwrap().abs().unwrap().max_all().unwrap();
        let difference = difference.to_scalar::<f32>().unwrap();
        assert!(difference <= 2e-5, "{name}: {difference}");
    }
}

/// A checkpoint with some keys of its config changed, and without those that are null: what load says.
fn said(case: &str, config: &str, changes: &Json, load: &str) -> String {
    let copy = tempfile::tempdir().unwrap();
    let from = directory("dictionaries").join(case);
    for entry in std::fs::read_dir(&from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    if !config.is_empty() {
        let path = copy.path().join(config);
        let mut json: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let inside = if config == "config.json" { &mut json["trainer"] } else { &mut json };
        for (key, value) in changes.as_object().unwrap() {
            match value {
                Json::Null => drop(inside.as_object_mut().unwrap().remove(key)),
                value => inside[key] = value.clone(),
            }
        }
        std::fs::write(path, json.to_string()).unwrap();
    }
    let place = copy.path().to_str().unwrap().to_owned();
    let text = format!("import \"lib/sae\" as sae;\nlet place = \"{place}\";\n{load}");
    let ran = script(&text, &["--read", &place]);
    if ran.output.status.success() { ran.stdout() } else { ran.stderr() }
}

#[test]
fn what_is_not_known_is_named() {
    let load = "sae::load(place)";
    for (case, config, changes, says) in [
        (
            "saelens/standard",
            "cfg.json",
            json!({"architecture": "crosscoder"}),
            "architecture = \"crosscoder\" is not known",
        ),
        (
            "saelens/standard",
            "cfg.json",
            json!({"activation_fn": "tanh-relu"}),
            "activation_fn = \"tanh-relu\" is not known",
        ),
        (
            "saelens/standard",
            "cfg.json",
            json!({"normalize_activations": "sphere"}),
            "normalize_activations = \"sphere\" is not known",
        ),
        (
            "saelens/standard",
            "cfg.json",
            json!({"normalize_activations": true}),
            "give load #{norm_scaling_factor:",
        ),
        (
            "saelens/standard",
            "cfg.json",
            json!({"reshape_activations": "hook_q"}),
            "reshape_activations = \"hook_q\" is not known",
        ),
        (
            "saelens/standard",
            "cfg.json",
            json!({"hook_head_index": 3}),
            "hook_head_index = 3 is not known",
        ),
        ("saelens/standard", "cfg.json", json!({"dtype": "int8"}), "dtype = \"int8\" is not known"),
        (
            "saelens/standard",
            "cfg.json",
            json!({"temperature": 2.0}),
            "temperature = 2.0 is not known",
        ),
        (
            "saelens/gated",
            "cfg.json",
            json!({"architecture": "standard"}),
            "the weights have no b_enc, but [\"b_gate\", \"b_mag\", \"r_mag\"]",
        ),
        (
            "saelens/jumprelu",
            "cfg.json",
            json!({"architecture": "standard"}),
            "the tensors [\"threshold\"] of sae_weights.safetensors are not known",
        ),
        (
            "saelens/scaled-2",
            "cfg.json",
            json!({"finetuning_scaling_factor": false}),
            "there is a scaling_factor among the weights",
        ),
        ("saelens/top-k", "cfg.json", json!({"k": 41}), "k = 41, of 40 features"),
        (
            "saelens/transcoder",
            "cfg.json",
            json!({"apply_b_dec_to_input": true}),
            "apply_b_dec_to_input = true is not known",
        ),
        (
            "sparsify/top-k/layers.1",
            "cfg.json",
            json!({"activation": "sigmoid"}),
            "activation = \"sigmoid\" is not known",
        ),
        (
            "sparsify/top-k/layers.1",
            "cfg.json",
            json!({"signed": true}),
            "signed = true is not known",
        ),
        (
            "sparsify/top-k/layers.1",
            "cfg.json",
            json!({"d_in": null}),
            "neither d_sae, as SAELens writes it, nor d_in",
        ),
        (
            "sparsify/top-k/layers.1",
            "cfg.json",
            json!({"skip_connection": true}),
            "the weights have no W_skip",
        ),
        (
            "dictionary_learning/AutoEncoder",
            "config.json",
            json!({"dict_class": "IdentityDict"}),
            "trainer.dict_class = \"IdentityDict\" is not known",
        ),
        (
            "dictionary_learning/AutoEncoderTopK",
            "config.json",
            json!({"dict_class": "AutoEncoder"}),
            "the weights have no bias",
        ),
    ] {
        let said = said(case, config, &changes, load);
        assert!(said.contains(says), "{case}: {said}");
    }
    let empty = script("import \"lib/sae\" as sae;\nsae::load(\"nothing\")", &[]).stderr();
    assert!(
        empty.contains("nothing holds no cfg.json, config.json or params.npz of a dictionary"),
        "{empty}"
    );
}

#[test]
fn what_an_option_says_holds() {
    for (case, config, changes, load, says) in [
        (
            "saelens/standard",
            "cfg.json",
            json!({"temperature": 2.0}),
            "sae::load(place, #{ignore: [\"temperature\"]}).kind",
            "standard",
        ),
        (
            "saelens/standard",
            "cfg.json",
            json!({"metadata": null}),
            "sae::splice(sae::load(place), |f, ctx| f)",
            "nothing says where this dictionary belongs",
        ),
        (
            "saelens/standard",
            "",
            json!({}),
            "sae::load(place, #{point: \"pre-block\", layers: 2}).layer",
            "2",
        ),
        (
            "saelens/standard",
            "",
            json!({}),
            "sae::load(place, #{places: 2})",
            "load has no option places",
        ),
        (
            "saelens/standard",
            "",
            json!({}),
            "sae::splice(sae::load(place), |f, ctx| f, #{errors: true})",
            "splice has no option errors",
        ),
        (
            "saelens/standard",
            "",
            json!({}),
            "sae::encode(sae::load(place), zeros([2, 40]))",
            "the dictionary reads activations of size 48, and these are [2, 40]",
        ),
        (
            "saelens/layer-norm",
            "",
            json!({}),
            "let s = sae::load(place); sae::decode(s, zeros([2, 40]))",
            "depends on what it was given: decode(s, f, x)",
        ),
        ("saelens/jumprelu-transcoder", "", json!({}), "sae::load(place).from", "pre-mlp"),
        (
            "dictionary_learning/AutoEncoder",
            "config.json",
            json!({"submodule_name": "mlp_3"}),
            "sae::load(place).point == ()",
            "true",
        ),
    ] {
        let said = said(case, config, &changes, load);
        assert!(said.contains(says), "{case}: {said}");
    }
}

/// A change of features is called with the context, may look only, and gives a tensor.
#[test]
fn a_change_of_features_is_a_hook() {
    let ran = run(r#"
        let s = sae::load("saelens/top-k");
        let ctx = context(sae::splice(s, |f, ctx| { ctx.active = f.count_nonzero().item(); }, #{error: true, positions: -1}));
        let plain = m.forward(ids).logits;
        print((m.forward(ids, ctx).logits - plain).abs().max().item() < 1e-4);
        print(ctx.active);
        let said = "";
        try { m.forward(ids, sae::splice(s, |f, ctx| 3)); } catch (e) { said = e.message; }
        print(said);
        let steered = sae::splice(s, |f, ctx| { f[[.., .., 3]] = 20.0; }, #{error: true, steps: 1..});
        print(m.generate(ids, steered, #{max_new_tokens: 3}).ids.shape);
        let x = variable(sae::activations(s, m, ids));
        print(gradient(sae::decode(s, sae::encode(s, x)).sum(), x).abs().max().item() > 0.0);
    "#).ok();
    let lines: Vec<String> = ran.stdout().lines().map(str::to_owned).collect();
    assert_eq!(
        lines,
        [
            "true",
            "5",
            "a change of features gives a tensor, or nothing, not i64",
            "[1, 15]",
            "true"
        ]
    );
}

/// A kind on each of the demos, for fewer steps than by default, with which 0.95 to 0.97 are explained by 24 features at a time: the
/// dictionary holds texts that it was not trained on, and lib/sae reads it from where it was written.
#[test]
fn a_few_features_stand_for_the_stream() {
    for (model, kind) in [(DEMOS[0], "jumprelu"), (DEMOS[1], "topk")] {
        let set = ["features=160", "batch=96", "k=29", "steps=90", &format!("kind={kind}")]
            .map(|value| ["--set".to_owned(), value.to_owned()])
            .concat();
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        let ran = run_with("sae_training", model, &set);
        let text = std::fs::read_to_string(ran.file("quality.csv")).unwrap();
        let cells: Vec<f64> = text
            .lines()
            .nth(1)
            .unwrap()
            .split(',')
            .skip(1)
            .map(|cell| cell.parse().unwrap())
            .collect();
        let [_, explained, active, dead] = cells[..] else { panic!("{text}") };
        assert!(explained >= 0.9 && active <= 32.0 && dead < 80.0, "{model}, {kind}: {text}");

        let again = script(
            "import \"lib/sae\" as sae;\nimport \"lib/world\" as world;\nlet m = model(param(\"model\", \"demo:opt\"));\n\
             let s = sae::load(\"sae\");\nlet ids = m.encode(world::texts());\nlet real = ids.mask.copy();\n\
             real[[.., 0]] = false;\nprint([s.kind, sae::quality(s, sae::activations(s, m, ids)[real]).explained > 0.85]);",
            &["--model", model, "--read", ran.file("").to_str().unwrap()],
        )
        .ok();
        assert_eq!(again.stdout(), format!("[\"{kind}\", true]\n"), "{model}");
    }
}

#[test]
fn training_goes_on_as_if_it_had_not_stopped() {
    let ran = script(
        r#"
        import "lib/sae" as sae;
        let m = model("demo:opt");
        import "lib/world" as world;
        let rows = world::texts().extract(0..48).map(|text| #{text: text});
        for kind in ["topk", "jumprelu"] {
            let options = #{kind: kind, layer: 1, features: 40, k: 8, steps: 8, batch: 64, dead_after: 2};
            let whole = sae::train(m, rows, options);
            let part = sae::train(m, rows, options + #{stop_after: 5});
            let rest = sae::train(m, rows, options + #{state: part.state});
            let same = whole.losses.extract(5) == rest.losses && [whole.explained, whole.l0, whole.dead] == [rest.explained, rest.l0, rest.dead];
            for name in ["w_enc", "b_enc", "w_dec", "b_dec"] { same = same && (whole.dictionary[name] == rest.dictionary[name]).all().item(); }
            print([same, whole.losses[-1] < whole.losses[0]]);
        }
        let said = "";
        try { sae::train(m, rows, #{k: 500}); } catch (e) { said = e.message; }
        print(said);
        rows = world::texts().map(|text| #{text: text});
        let options = #{from: "pre-mlp", point: "mlp-residual", layer: 1, features: 160, k: 20, steps: 40, batch: 96};
        let through = sae::train(m, rows, options);
        print([through.dictionary.transcoder, through.explained > 0.6]);
    "#,
        &[],
    );
    let lines = ran.ok().stdout();
    assert_eq!(
        lines,
        "[true, true]\n[true, true]\nk must be from 1 to all 256 features, and not 500\n[true, true]\n"
    );
}

/// The cells of a run's .csv, without the names of the columns.
fn cells(ran: &Ran, file: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(ran.file(file)).unwrap();
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

/// What the recipes show of a dictionary of the stream after the third block, which is trained once.
#[test]
fn what_recipes_show_of_a_dictionary() {
    for model in DEMOS {
        let trained = script(
            r#"import "lib/sae" as sae;
            import "lib/world" as world;
            let rows = world::texts().map(|text| #{text: text});
            let m = model(param("model", "demo:opt"));
            sae::save_as(sae::train(m, rows, #{layer: 2, features: 160, k: 12, steps: 60, batch: 128}).dictionary, "sae");"#,
            &["--model", model],
        )
        .ok();
        let (path, read) = (trained.file("sae"), trained.file(""));
        let set = format!("sae={}", path.display());
        let run =
            |recipe| run_with(recipe, model, &["--set", &set, "--read", read.to_str().unwrap()]);
        features_make_up_the_stream(&run("sae_features"), model);
        few_features_matter_to_an_answer(&run("sae_ablation"), model);
        a_feature_turned_up_turns_what_is_written(&run("sae_steering"), model);
        examples_are_those_in_which_features_are_most_active(
            &run("feature_max_activations"),
            model,
        );
    }
}

fn features_make_up_the_stream(ran: &Ran, model: &str) {
    let found = ran.tensors("features.safetensors");
    let squares = |of: &Tensor| of.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
    let (stream, made) = (&found["stream"], &found["reconstructed"]);
    let lost = squares(&(stream - made).unwrap());
    let all = squares(&stream.broadcast_sub(&stream.mean_keepdim(0).unwrap()).unwrap());
    assert!(lost < 0.5 * all, "{model}: {lost} of {all}");
    let active = found["active"].gt(0f32).unwrap().to_dtype(candle_core::DType::F32).unwrap();
    let most = active.sum(1).unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    assert!((1.0..=12.0).contains(&most), "{model}: {most}");
}

/// And gradients find them.
fn few_features_matter_to_an_answer(ran: &Ran, model: &str) {
    let found = ran.tensors("effects.safetensors");
    let (effects, foretold) = (flat(&found["effects"]), flat(&found["foretold"]));
    let mut sizes: Vec<f32> = effects.iter().map(|effect| effect.abs()).collect();
    sizes.sort_by(f32::total_cmp);
    let (median, most) = (sizes[sizes.len() / 2], sizes[sizes.len() - 1]);
    assert!(most > 0.4 && most > 5.0 * median, "{model}: {effects:?}");
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let cosine =
        dot(&effects, &foretold) / (dot(&effects, &effects) * dot(&foretold, &foretold)).sqrt();
    assert!(cosine > 0.8, "{model}: {cosine}");
}

fn a_feature_turned_up_turns_what_is_written(ran: &Ran, model: &str) {
    let rows = cells(ran, "steering.csv");
    let number = |row: &[String], at: usize| row[at].parse::<f64>().unwrap();
    assert!(number(&rows[0], 2) > 0.9 && rows[0][3].contains("box is"), "{model}: {rows:?}");
    assert!(
        rows.iter().any(|row| number(row, 1) > 0.5 && row[3].contains("box are")),
        "{model}: {rows:?}"
    );
}

fn examples_are_those_in_which_features_are_most_active(ran: &Ran, model: &str) {
    let examples: Json =
        serde_json::from_slice(&std::fs::read(ran.file("examples.json")).unwrap()).unwrap();
    let examples = examples.as_array().unwrap();
    assert_eq!(examples.len(), 24, "{model}");
    let mut alike = 0;
    for pair in examples.windows(2).filter(|pair| pair[0]["feature"] == pair[1]["feature"]) {
        assert!(
            pair[0]["activation"].as_f64() >= pair[1]["activation"].as_f64(),
            "{model}: {pair:?}"
        );
        assert!(
            pair[0]["text"].as_str().unwrap().contains(pair[0]["token"].as_str().unwrap()),
            "{pair:?}"
        );
        alike += usize::from(pair[0]["token"] == pair[1]["token"]);
    }
    // A feature is active on one kind of token.
    assert!(alike >= 9, "{model}: {alike} of 18");
}
