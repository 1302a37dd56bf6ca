//! Checkpoints as they occur: pickles of old, names behind what wrapped the model, the text half of a
//! model of several parts, adapters where a model is looked for, and what is judged first.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use precompute::checkpoint::{Checkpoint, OpenOptions};
use precompute::model::Decoder;
use precompute::tensor::WeightSource;
use serde_json::{Map, Value, json};

use crate::binary::Workplace;
use crate::fixture::{Fixture, difference, directory, golden};

/// A copy of a fixture whose one safetensors file has other names, and whose config is another.
fn renamed(
    case: &str,
    name: impl Fn(&str) -> String,
    config: impl Fn(Map<String, Value>) -> Value,
) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let from = directory(case);
    let of_fixture: Map<String, Value> =
        serde_json::from_slice(&std::fs::read(from.join("config.json")).unwrap()).unwrap();
    std::fs::write(copy.path().join("config.json"), config(of_fixture).to_string()).unwrap();
    let tensors = candle_core::safetensors::load(from.join("model.safetensors"), &Device::Cpu);
    let tensors: HashMap<String, Tensor> =
        tensors.unwrap().into_iter().map(|(old, tensor)| (name(&old), tensor)).collect();
    candle_core::safetensors::save(&tensors, copy.path().join("model.safetensors")).unwrap();
    copy
}

fn open(directory: &Path) -> Checkpoint {
    Checkpoint::open(directory.to_str().unwrap(), &OpenOptions::default()).unwrap()
}

fn load(directory: &Path) -> Decoder {
    let checkpoint = open(directory);
    Decoder::load(&checkpoint.config, &checkpoint.weights, DType::F32, &Device::Cpu).unwrap()
}

/// The decoder computes what PyTorch computed for the fixture.
fn check(decoder: Decoder, case: &'static str) {
    let fixture = Fixture { case, decoder, golden: golden(case) };
    let logits = fixture.decoder.logits(&fixture.input()).unwrap();
    assert!(difference(&logits, fixture.golden("plain/logits")) < 2e-5, "{case}");
}

/// `views-legacy.bin` is `views.bin` as PyTorch 1.5 wrote it, and `views-state-dict.bin` has the same
/// tensors under `state_dict`, beside an optimiser's, their names behind `module._orig_mod.`.
#[test]
fn pickles_of_old_and_of_training_loops_have_the_same_tensors() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let weights = |file: &str| {
        let here = tempfile::tempdir().unwrap();
        std::fs::copy(fixtures.join(file), here.path().join("pytorch_model.bin")).unwrap();
        std::fs::copy(directory("opt").join("config.json"), here.path().join("config.json"))
            .unwrap();
        open(here.path()).weights
    };
    let new = weights("views.bin");
    for file in ["views-legacy.bin", "views-state-dict.bin"] {
        let other = weights(file);
        assert_eq!(other.names(), new.names(), "{file}");
        assert_eq!(new.names().len(), 5);
        for name in new.names() {
            let [a, b] = [&new, &other].map(|it| it.load(&name, DType::F32, &Device::Cpu).unwrap());
            assert_eq!(difference(&a, &b), 0.0, "{file}: {name}");
            assert_eq!(new.stored(&name), other.stored(&name), "{file}: {name}");
        }
    }
}

#[test]
fn a_broken_pickle_of_old_is_a_sentence() {
    let legacy = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/views-legacy.bin");
    let whole = std::fs::read(legacy).unwrap();
    let here = tempfile::tempdir().unwrap();
    std::fs::copy(directory("opt").join("config.json"), here.path().join("config.json")).unwrap();
    for length in (0..whole.len()).step_by(7) {
        std::fs::write(here.path().join("pytorch_model.bin"), &whole[..length]).unwrap();
        let opened = Checkpoint::open(here.path().to_str().unwrap(), &OpenOptions::default());
        let error = opened.err().unwrap_or_else(|| panic!("{length} bytes open")).to_string();
        assert!(error.contains("is broken") || error.contains("is no file that"), "{error}");
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        std::fs::write(here.path().join("pytorch_model.bin"), &bytes).unwrap();
        // Whatever it says: it does not panic, and tensors are within the file.
        let opened = Checkpoint::open(here.path().to_str().unwrap(), &OpenOptions::default());
        if let Ok(checkpoint) = opened {
            for name in checkpoint.weights.names() {
                let _ = checkpoint.weights.load(&name, DType::F32, &Device::Cpu);
            }
        }
    }
}

#[test]
fn what_wrapped_a_model_is_no_part_of_its_names() {
    for prefix in
        ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "language_model."]
    {
        let copy = renamed("qwen2", |name| format!("{prefix}{name}"), Value::from);
        let decoder = load(copy.path());
        assert!(decoder.checkpoint_names().unused.is_empty(), "{prefix}");
        check(decoder, "qwen2");
    }
    // The unembedding of its own is found behind the prefix too.
    let copy = renamed("phi3", |name| format!("language_model.{name}"), Value::from);
    check(load(copy.path()), "phi3");
}

#[test]
fn the_text_half_of_a_model_of_several_parts_is_its_family() {
    let whole = |text: Map<String, Value>| {
        json!({
            "model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"], "text_config": text,
            "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 32}, "mm_tokens_per_image": 4
        })
    };
    let vision = "vision_tower.patch.weight";
    for (outer, inner) in [("language_model.", "model."), ("model.language_model.", "")] {
        let name = |name: &str| match name.strip_prefix("model.") {
            Some("layers.0.input_layernorm.weight") => {
                format!("{outer}{inner}layers.0.input_layernorm.weight")
            }
            Some(rest) => format!("{outer}{inner}{rest}"),
            None => name.to_owned(),
        };
        let copy = renamed("gemma3", name, whole);
        let path = copy.path().join("model.safetensors");
        let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
        tensors.insert(vision.into(), Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap());
        candle_core::safetensors::save(&tensors, &path).unwrap();
        let decoder = load(copy.path());
        assert_eq!(decoder.checkpoint_names().unused, [vision]);
        assert_eq!(decoder.spec().family, "gemma3_text");
        check(decoder, "gemma3");
        let here =
            Workplace::new(&[("s.rhai", "print(model(param(\"m\", \"\")).config.hidden_size);")]);
        let set = format!("m={}", copy.path().display());
        let ran = here.run(&["run", "s.rhai", "--set", &set]);
        assert_eq!(ran.stdout, "32\n", "{}", ran.stderr);
        for said in ["of this gemma3 model the text half alone is loaded", vision] {
            assert!(ran.stderr.contains(said), "{}", ran.stderr);
        }
    }
}

/// A workplace with a copy of a fixture as `m`, its config changed.
fn workplace(case: &str, change: impl Fn(&str) -> String) -> Workplace {
    let here = Workplace::new(&[("s.rhai", "print(model(\"./m\").config.model_type);")]);
    for entry in std::fs::read_dir(directory(case)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        match name {
            "config.json" => {
                let text = change(std::str::from_utf8(&bytes).unwrap());
                here.write(&format!("m/{name}"), text.as_bytes());
            }
            _ => here.write(&format!("m/{name}"), &bytes),
        }
    }
    here
}

#[test]
fn what_transformers_does_not_read_is_named_unless_it_is_well_known() {
    let with = |field: &str| {
        let here = workplace("llama", |config| config.replacen('{', &format!("{{{field},"), 1));
        let ran = here.run(&["run", "s.rhai"]);
        assert_eq!(ran.stdout, "llama\n", "{field}: {}", ran.stderr);
        ran.stderr
    };
    let said = with("\"scale_depth\": 1.4");
    assert!(said.contains("that transformers does not read: scale_depth = 1.4"), "{said}");
    let said = with("\"rope_interleaved\": true");
    assert!(said.contains("rope_interleaved = true"), "{said}");
    for field in [
        "\"unsloth_fixed\": true",
        "\"rope_interleaved\": false",
        "\"transformers.js_config\": {\"dtype\": \"q4\"}",
        "\"neftune_noise_alpha\": NaN, \"max_sequence_length\": Infinity, \"seq_length\": -Infinity",
    ] {
        assert_eq!(
            with(field).lines().filter(|line| line.contains("warning")).count(),
            0,
            "{field}"
        );
    }
    let here = workplace("llama", |config| {
        config.replacen("\"rms_norm_eps\": 1e-06", "\"rms_norm_eps\": Infinity", 1)
    });
    let ran = here.run(&["run", "s.rhai"]);
    assert!(
        ran.stderr.contains("rms_norm_eps must be a number, not \"Infinity\""),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_field_may_have_its_other_name_once() {
    let renamed = |config: &str| {
        config
            .replace("\"n_embd\"", "\"hidden_size\"")
            .replace("\"n_head\"", "\"num_attention_heads\"")
    };
    check(load(&workplace("gpt2", renamed).path().join("m")), "gpt2");
    let both = |config: &str| config.replacen('{', "{\"hidden_size\": 96,", 1);
    let ran = workplace("gpt2", both).run(&["run", "s.rhai"]);
    assert!(
        ran.stderr.contains("hidden_size is 96 and n_embd is 48, and the two are one field"),
        "{}",
        ran.stderr
    );
}

#[test]
fn an_adapter_is_no_model_and_one_beside_a_model_is_named() {
    let here = workplace("opt", str::to_owned);
    let adapter = directory("adapters").join("opt");
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        let bytes = std::fs::read(adapter.join(name)).unwrap();
        here.write(&format!("m/{name}"), &bytes);
        here.write(&format!("a/{name}"), &bytes);
    }
    let ran = here.run(&["run", "s.rhai"]);
    assert_eq!(ran.stdout, "opt\n", "{}", ran.stderr);
    assert!(
        ran.stderr.contains("which is not applied: model(\"./m\").with_adapter(\"./m\")"),
        "{}",
        ran.stderr
    );
    here.write("s.rhai", b"model(\"./a\")");
    let ran = here.run(&["run", "s.rhai"]);
    assert_eq!(ran.code, Some(1));
    for said in ["./a is an adapter, and no model", ".with_adapter(\"./a\") applies it"] {
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
}

#[test]
fn the_config_is_judged_before_the_weights_are_missed() {
    for (from, to, said) in [
        (
            "\"model_type\": \"llama\"",
            "\"model_type\": \"unheard_of\"",
            "the model family \"unheard_of\" is not supported",
        ),
        ("\"hidden_act\": \"silu\"", "\"hidden_act\": \"laplace\"", "the activation \"laplace\""),
    ] {
        let here = workplace("llama", |config| config.replacen(from, to, 1));
        for file in [
            "model.safetensors.index.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        ] {
            std::fs::remove_file(here.path().join("m").join(file)).unwrap();
        }
        let ran = here.run(&["run", "s.rhai"]);
        assert_eq!(ran.code, Some(1));
        assert!(
            ran.stderr.contains(said) && !ran.stderr.contains("has no weights"),
            "{}",
            ran.stderr
        );
    }
}
