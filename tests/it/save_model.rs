//! `m.save(name)`: what it writes is the model, for this program and for transformers.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device};
use precompute::checkpoint::{Checkpoint, OpenOptions};
use precompute::model::Decoder;
use precompute::tensor::WeightSource;
use serde_json::Value as Json;

use crate::binary::{Workplace, script};
use crate::fixture::{directory, subjects};

fn id(name: &str) -> String {
    if name.starts_with("demo:") { name.into() } else { directory(name).display().to_string() }
}

fn open(path: &Path) -> Checkpoint {
    Checkpoint::open(path.to_str().unwrap(), &OpenOptions::default()).unwrap()
}

/// What stands in a .safetensors file, by name: dtype, shape, and the file's metadata.
fn header(path: &Path) -> serde_json::Map<String, Json> {
    let bytes = std::fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    serde_json::from_slice(&bytes[8..8 + length]).unwrap()
}

#[test]
fn every_model_comes_back_with_the_same_logits_and_dtypes() {
    for subject in subjects() {
        let here = Workplace::new(&[(
            "s.rhai",
            r#"
            let m = model(param("model", "demo:opt"));
            let ids = m.encode("When Mary and John");
            let path = m.save("copies/of it");
            let n = model(path);
            print((m.forward(ids).logits - n.forward(ids).logits).abs().max().item());
            print([m.decode(ids) == n.decode(ids), m.config == n.config, n.id == path]);
            "#,
        )]);
        let ran = here.run(&[
            "run",
            "s.rhai",
            "--set",
            &format!("model={}", id(&subject.name)),
            "--out",
            "out",
        ]);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(0), "0.0\n[true, true, true]\n"),
            "{}: {}",
            subject.name,
            ran.stderr
        );
        let saved = here.path().join("out/copies/of it");
        let (before, after) =
            (Checkpoint::open(&id(&subject.name), &OpenOptions::default()).unwrap(), open(&saved));
        assert_eq!(
            (before.config.clone(), &before.generation_config),
            (after.config.clone(), &after.generation_config)
        );
        let (mut names, mut again) = (before.weights.names(), after.weights.names());
        names.sort();
        again.sort();
        assert_eq!(names, again, "{}", subject.name);
        for name in &names {
            assert_eq!(
                before.weights.stored(name),
                after.weights.stored(name),
                "{}: {name}",
                subject.name
            );
            let load = |from: &Checkpoint| {
                let tensor = from.weights.load(name, DType::F64, &Device::Cpu).unwrap();
                tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap()
            };
            assert_eq!(load(&before), load(&after), "{}: {name}", subject.name);
        }
        // transformers looks at this before it reads weights.
        assert_eq!(header(&saved.join("model.safetensors"))["__metadata__"]["format"], "pt");
        let record: Json =
            serde_json::from_slice(&std::fs::read(here.path().join("out/run.json")).unwrap())
                .unwrap();
        let listed =
            record["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap());
        let listed: Vec<&str> = listed.collect();
        for name in ["model.safetensors", "config.json"] {
            assert!(listed.contains(&format!("copies/of it/{name}").as_str()), "{listed:?}");
        }
    }
}

#[test]
fn weights_are_sharded_where_they_are_large() {
    for case in ["gpt-neox", "opt", "llama"] {
        let before = open(&directory(case));
        let here = tempfile::tempdir().unwrap();
        let mut order = Vec::new();
        before
            .save(&Default::default(), 40_000, &mut |name, fill| {
                let mut file = std::fs::File::create(here.path().join(name)).unwrap();
                order.push(name.to_owned());
                fill(&mut file)
            })
            .unwrap();
        let shards: Vec<&String> =
            order.iter().filter(|name| name.ends_with(".safetensors")).collect();
        assert!(shards.len() > 2, "{case}: {order:?}");
        assert_eq!(order.last().unwrap(), "config.json");
        let index: Json = serde_json::from_slice(
            &std::fs::read(here.path().join("model.safetensors.index.json")).unwrap(),
        )
        .unwrap();
        assert_eq!(index["metadata"]["total_size"], before.size(&Default::default()).unwrap());
        let mut held = BTreeMap::new();
        for (at, shard) in shards.iter().enumerate() {
            assert_eq!(**shard, format!("model-{:05}-of-{:05}.safetensors", at + 1, shards.len()));
            for (name, info) in header(&here.path().join(shard)) {
                if name != "__metadata__" {
                    assert_eq!(index["weight_map"][&name], shard.as_str(), "{name}");
                    held.insert(name, info["dtype"].as_str().unwrap().to_owned());
                }
            }
        }
        assert_eq!(held.len(), before.weights.names().len(), "{case}");
        let after = open(here.path());
        let logits = |checkpoint: &Checkpoint| {
            let decoder =
                Decoder::load(&checkpoint.config, &checkpoint.weights, DType::F32, &Device::Cpu)
                    .unwrap();
            let input = precompute::model::Input::tokens(&[5, 6, 7]).unwrap();
            decoder.logits(&input).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(logits(&before), logits(&after), "{case}");
    }
}

#[test]
fn what_can_not_be_saved_is_said_and_leaves_nothing() {
    for (body, arguments, said) in [
        ("m.save(\"../x\")", &[] as &[&str], "is no name to save under"),
        ("m.save(\"\")", &[], "is no name to save under"),
        ("m.save(\"/tmp/x\")", &[], "is no name to save under"),
        ("m.save(\"a\"); m.save(\"a\")", &[], "this run has saved a model as \"a\" already"),
        ("m.save(\"a\")", &["--max-output", "100KB"], "the run prints and saves more than"),
        ("m.save(\"a\")", &["--max-files", "1"], "the run saves more than 1 files"),
    ] {
        let here = Workplace::new(&[("s.rhai", &format!("let m = model(\"demo:opt\");\n{body}"))]);
        let ran = here.run(&[&["run", "s.rhai", "--out", "out"], arguments].concat());
        assert!(ran.code == Some(1) && ran.stderr.contains(said), "{body}\n{}", ran.stderr);
        // What is there without its config is no model.
        let whole = body.contains("m.save(\"a\"); ");
        assert_eq!(here.path().join("out/a/config.json").exists(), whole, "{body}");
    }
    let here = Workplace::new(&[("s.rhai", "model(\"demo:opt\").save(\"a\")")]);
    here.write("out/a/merges.txt", b"");
    let ran = here.run(&["run", "s.rhai", "--out", "out"]);
    assert!(ran.stderr.contains("has merges.txt of another model"), "{}", ran.stderr);
    let again = here.run(&["run", "s.rhai", "--out", "other"]);
    let once_more = here.run(&["run", "s.rhai", "--out", "other"]);
    assert_eq!(
        (again.code, once_more.code),
        (Some(0), Some(0)),
        "{}{}",
        again.stderr,
        once_more.stderr
    );
}

#[test]
fn a_model_is_no_value_that_save_writes() {
    let ran = script("save(\"m\", model(\"demo:opt\"))");
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
}

/// `m.config` is the checkpoint's and the sizes that every family has by one name: saved as
/// config.json it is taken.
#[test]
fn a_config_that_a_script_saves_is_a_config() {
    for subject in subjects() {
        let here = Workplace::new(&[(
            "s.rhai",
            r#"
            let m = model(param("model", "demo:opt"));
            m.save("m");
            save("m/config.json", m.config);
            let n = model(param("again", "out/m"));
            let ids = m.encode("When Mary");
            print((m.forward(ids).logits - n.forward(ids).logits).abs().max().item());
            print(m.config == n.config);
            "#,
        )]);
        let ran = here.run(&[
            "run",
            "s.rhai",
            "--set",
            &format!("model={}", id(&subject.name)),
            "--out",
            "out",
        ]);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(0), "0.0\ntrue\n"),
            "{}: {}",
            subject.name,
            ran.stderr
        );
    }
}

#[test]
fn a_size_that_is_said_twice_and_differs_is_refused() {
    for (case, field, said) in [
        (
            "gpt2",
            "hidden_size",
            "hidden_size is 7 and n_embd is 48, and the two are one field of gpt2",
        ),
        ("opt", "head_dim", "head_dim is 7, and the fields that this family reads make it"),
        (
            "falcon",
            "num_key_value_heads",
            "num_key_value_heads is 7, and the fields that this family reads make it",
        ),
    ] {
        let mut config = open(&directory(case)).config;
        config.insert(field.into(), 7.into());
        let error = precompute::model::family::read(&config).err().unwrap();
        assert!(error.to_string().contains(said), "{case}: {error}");
    }
}
