//! LoRA adapters: the logits that PEFT computes with them, and what can't be honoured.

use serde_json::{Value as Json, json};

use crate::binary::Workplace;
use crate::fixture::directory;

/// The adapters, each with the fixture that it belongs to.
const ADAPTERS: &[(&str, &str)] = &[
    ("llama", "llama"),
    ("gpt2", "gpt2"),
    ("opt", "opt"),
    ("gpt-neox", "gpt-neox"),
    ("embedding", "llama"),
    ("mistral", "mistral"),
];

/// A directory with the script `text`, and copies of all adapters with a config that `change` has
/// changed.
fn workplace(text: &str, change: impl Fn(&mut serde_json::Map<String, Json>)) -> Workplace {
    let here = Workplace::new(&[("s.rhai", text)]);
    for (adapter, _) in ADAPTERS {
        let from = directory("adapters").join(adapter);
        let read = |name: &str| std::fs::read(from.join(name)).unwrap();
        let mut config = serde_json::from_slice(&read("adapter_config.json")).unwrap();
        change(&mut config);
        let config = serde_json::to_vec(&config).unwrap();
        std::fs::create_dir(here.path().join(adapter)).unwrap();
        for (name, bytes) in [
            ("adapter_config.json", config),
            ("adapter_model.safetensors", read("adapter_model.safetensors")),
            ("golden.safetensors", read("golden.safetensors")),
        ] {
            here.write(&format!("{adapter}/{name}"), &bytes);
        }
    }
    here
}

fn run(here: &Workplace, adapter: &str, base: &str) -> (Option<i32>, String, String) {
    let model = format!("model={}", directory(base).display());
    let adapter = format!("adapter={adapter}");
    let ran = here.run(&["run", "s.rhai", "--set", &model, "--set", &adapter, "--out", "out"]);
    (ran.code, ran.stdout, ran.stderr)
}

#[test]
fn logits_with_an_adapter_are_pefts() {
    let here = workplace(
        r#"
        let m = model(param("model", ""));
        let adapter = param("adapter", "");
        let golden = load_tensors(`${adapter}/golden.safetensors`);
        let n = m.with_adapter(adapter);
        let off = |n| (n.forward(golden.ids).logits - golden.logits).abs().max().item();
        print(off.call(n));
        print(off.call(m));
        print(off.call(model(n.save("merged"))));
        "#,
        |_| {},
    );
    for (adapter, base) in ADAPTERS {
        let (code, out, err) = run(&here, adapter, base);
        assert_eq!(code, Some(0), "{adapter}: {err}");
        let off: Vec<f64> = out.lines().map(|line| line.parse().unwrap()).collect();
        assert!(off[0] < 1e-4 && off[1] > 1.0 && off[2] < 1e-4, "{adapter}: {off:?}");
        let record = std::fs::read(here.path().join("out/run.json")).unwrap();
        let record: Json = serde_json::from_slice(&record).unwrap();
        assert_eq!(record["adapters"][0]["id"], *adapter, "{record}");
        assert_eq!(record["adapters"][0]["model"], directory(base).display().to_string());
        std::fs::remove_dir_all(here.path().join("out")).unwrap();
    }
}

#[test]
fn what_an_adapter_adds_is_scaled() {
    let here = workplace(
        r#"
        let m = model(param("model", ""));
        let adapter = param("adapter", "");
        let name = "model.layers.0.self_attn.q_proj.weight";
        let at = |scale| m.with_adapter(adapter, #{scale: scale}).weight(name) - m.weight(name);
        print([at.call(0).abs().max().item(), (at.call(0.5) * 2.0 - at.call(1)).abs().max().item() < 1e-6, at.call(1).abs().max().item() > 0.01]);
        "#,
        |_| {},
    );
    let (code, out, err) = run(&here, "llama", "llama");
    assert_eq!((code, out.as_str()), (Some(0), "[0.0, true, true]\n"), "{err}");
}

/// Configs that say less or more than the file has, with which PEFT 0.21 computes the same.
#[test]
fn what_a_config_leaves_open_is_as_peft_has_it() {
    let text = r#"
        let adapter = param("adapter", "");
        let golden = load_tensors(`${adapter}/golden.safetensors`);
        let n = model(param("model", "")).with_adapter(adapter);
        print((n.forward(golden.ids).logits - golden.logits).abs().max().item() < 1e-4);
    "#;
    for (adapter, name, value, said) in [
        // The biases of the file are taken.
        ("opt", "bias", json!("none"), ""),
        ("opt", "bias", json!("all"), ""),
        ("gpt-neox", "bias", json!("none"), ""),
        ("gpt-neox", "bias", json!("lora_only"), ""),
        // So is a module that is stored whole, which need not be listed.
        ("mistral", "modules_to_save", Json::Null, ""),
        (
            "mistral",
            "modules_to_save",
            json!(["lm_head", "score"]),
            "warning: modules_to_save name score, which the model does not have",
        ),
        (
            "llama",
            "target_modules",
            json!(["q_proj", "v_proj", "down_proj", "c_attn"]),
            "warning: target_modules name c_attn, which the model does not have",
        ),
        (
            "llama",
            "target_modules",
            json!(["q_proj", "v_proj", "down_proj", "k_proj"]),
            "warning: target_modules name model.layers.0.self_attn.k_proj, of which the adapter has no factors",
        ),
    ] {
        let here = workplace(text, |config| {
            config.insert(name.into(), value.clone());
        });
        let (code, out, err) = run(&here, adapter, adapter);
        assert_eq!((code, out.as_str()), (Some(0), "true\n"), "{adapter} {name} {value}: {err}");
        assert!(err.contains(said) && said.is_empty() != err.contains("warning"), "{name}: {err}");
    }
}

/// Each says its sentence.
#[test]
fn what_an_adapter_can_not_have_is_said() {
    let text = "model(param(\"model\", \"\")).with_adapter(param(\"adapter\", \"\"))";
    let set = |name: &'static str, value: Json| {
        move |config: &mut serde_json::Map<String, Json>| {
            config.insert(name.into(), value.clone());
        }
    };
    for (name, value, said) in [
        ("use_dora", json!(true), "use_dora = true can't be honoured"),
        ("peft_type", json!("IA3"), "peft_type \"IA3\" can't be honoured"),
        ("layer_replication", json!([[0, 1]]), "layer_replication = [[0,1]] can't be honoured"),
        ("lora_bias", json!(true), "lora_bias = true can't be honoured"),
        ("something_new", json!(3), "something_new = 3 can't be honoured"),
        (
            "init_lora_weights",
            json!("pissa"),
            "init_lora_weights = \"pissa\" changes the model's own weights",
        ),
        ("r", json!(7), "its rank and the model make them [7, 48] and [48, 7]"),
        ("r", json!(0), "r must be a whole number from 1 to 1048576, not 0"),
        ("r", json!(1_000_000_000_000_000_000_u64), "from 1 to 1048576, not 1000000000000000000"),
        ("bias", json!("some"), "bias must be \"none\", \"all\" or \"lora_only\", not \"some\""),
        (
            "modules_to_save",
            json!(["lm_head"]),
            "modules_to_save name lm_head, and the adapter has no tensor in the place of lm_head.weight",
        ),
        ("r", Json::Null, "adapter_config.json has no r"),
        ("lora_alpha", json!("x"), "lora_alpha must be a number"),
        ("use_rslora", json!(3), "use_rslora must be true or false"),
        ("target_modules", json!(["v_proj", "down_proj"]), "which its target_modules do not name"),
        ("target_modules", json!("model\\.(layers"), "which is no pattern"),
        ("target_modules", json!(3), "target_modules must be a pattern or an array of names"),
        ("exclude_modules", json!(["q_proj"]), "which its target_modules do not name"),
        ("layers_to_transform", json!([1]), "which its target_modules do not name"),
        ("rank_pattern", json!({"down_proj": 2, "q_proj": 9}), "make them [9, 48] and [48, 9]"),
        ("alpha_pattern", json!([1]), "alpha_pattern must be a map"),
    ] {
        let here = workplace(text, set(name, value.clone()));
        let (code, _, err) = run(&here, "llama", "llama");
        assert!(code == Some(1) && err.contains(said), "{name} = {value}: {err}");
    }
    let here = workplace(text, |_| {});
    for (adapter, base, said) in [
        ("llama", "gpt2", "the model has no such weight"),
        ("embedding", "llama3-rope", "one end of the model's tied embeddings"),
        ("nowhere/at/all", "opt", "there is no directory \"nowhere/at/all\""),
        ("demo:opt", "opt", "demo:opt is a model, and no adapter"),
        (".", "opt", ". has no adapter_config.json, so it is no adapter"),
    ] {
        let (code, _, err) = run(&here, adapter, base);
        assert!(code == Some(1) && err.contains(said), "{adapter} on {base}: {err}");
    }
    // Nothing to adapt: an adapter of biases alone, whose targets the model does not have.
    let here = workplace(text, |config| {
        config.insert("target_modules".into(), json!(["c_attn"]));
    });
    let file = here.path().join("opt/adapter_model.safetensors");
    let tensors = candle_core::safetensors::load(&file, &candle_core::Device::Cpu).unwrap();
    let biases: std::collections::HashMap<_, _> =
        tensors.into_iter().filter(|(name, _)| name.ends_with(".bias")).collect();
    candle_core::safetensors::save(&biases, &file).unwrap();
    let (code, _, err) = run(&here, "opt", "opt");
    assert!(code == Some(1) && err.contains("target_modules name no module of the model"), "{err}");
    // A file that is cut short, and one that is missing.
    let file = |here: &Workplace| here.path().join("llama/adapter_model.safetensors");
    let bytes = std::fs::read(file(&here)).unwrap();
    std::fs::write(file(&here), &bytes[..bytes.len() / 2]).unwrap();
    let (code, _, err) = run(&here, "llama", "llama");
    assert!(code == Some(1) && err.contains("adapter_model.safetensors"), "{err}");
    std::fs::remove_file(file(&here)).unwrap();
    let (code, _, err) = run(&here, "llama", "llama");
    assert!(code == Some(1) && err.contains("llama has no tensors"), "{err}");
}
