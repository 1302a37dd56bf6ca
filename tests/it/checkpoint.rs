//! Directories with checkpoints, whole and broken.

use std::path::Path;

use candle_core::{DType, Device};
use precompute::checkpoint::{Checkpoint, OpenOptions};
use precompute::model::Decoder;
use precompute::tensor::WeightSource;

use crate::fixture::{CASES, directory};

fn open(directory: &Path) -> precompute::Result<Checkpoint> {
    Checkpoint::open(directory.to_str().unwrap(), &OpenOptions::default())
}

/// A copy of a fixture, to be broken.
fn copy(case: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(directory(case)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

fn fails(directory: &Path) -> String {
    let load = |checkpoint: Checkpoint| {
        Decoder::load(&checkpoint.config, &checkpoint.weights, DType::F32, &Device::Cpu)?;
        checkpoint.tokenizer()?;
        precompute::Result::Ok(())
    };
    open(directory).and_then(load).expect_err("a broken checkpoint was taken").to_string()
}

#[test]
fn every_text_has_the_goldens_token_ids_and_comes_back() {
    for case in CASES {
        let json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(directory(case).join("golden.json")).unwrap())
                .unwrap();
        let checkpoint = open(&directory(case)).unwrap();
        let tokenizer = checkpoint.tokenizer().unwrap();
        for text in json["texts"].as_array().unwrap() {
            let ids: Vec<u32> = serde_json::from_value(text["ids"].clone()).unwrap();
            let text = text["text"].as_str().unwrap();
            assert_eq!(tokenizer.encode(text, true).unwrap(), ids, "{case}: {text:?}");
            let plain = tokenizer.encode(text, false).unwrap();
            assert_eq!(tokenizer.decode(&plain).unwrap(), text, "{case}");
        }
    }
}

#[test]
fn opts_special_tokens_come_from_its_configs() {
    let checkpoint = open(&directory("opt")).unwrap();
    let tokenizer = checkpoint.tokenizer().unwrap();
    assert_eq!(tokenizer.pad_id(), 1);
    assert_eq!(tokenizer.end_of_text(), Some(2));
    assert_eq!(tokenizer.encode("</s>", false).unwrap(), [2]);
    let neox = open(&directory("gpt-neox")).unwrap();
    assert_eq!(neox.tokenizer().unwrap().pad_id(), 0);
}

#[test]
fn the_hubs_configs_are_read_as_they_stand() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hub-configs");
    let mut read = 0;
    for entry in std::fs::read_dir(configs).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let config: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let reading = precompute::model::family::read(&config);
        let spec = reading.unwrap_or_else(|e| panic!("{}: {e}", path.display())).spec;
        let name = path.file_stem().unwrap().to_str().unwrap();
        let expected = match name {
            "EleutherAI--gpt-neox-20b" => (44, 6144, 64, 64, 96, 24576, 50432),
            "EleutherAI--pythia-70m-deduped" => (6, 512, 8, 8, 64, 2048, 50304),
            "Qwen--Qwen2.5-0.5B" => (24, 896, 14, 2, 64, 4864, 151936),
            "Qwen--Qwen3-0.6B" => (28, 1024, 16, 8, 128, 3072, 151936),
            "facebook--opt-125m" => (12, 768, 12, 12, 64, 3072, 50272),
            "facebook--opt-350m" => (24, 1024, 16, 16, 64, 4096, 50272),
            "gpt2" => (12, 768, 12, 12, 64, 3072, 50257),
            "meta-llama--Llama-3.2-1B" => (16, 2048, 32, 8, 64, 8192, 128256),
            "mistralai--Mistral-7B-v0.1" => (32, 4096, 32, 8, 128, 14336, 32000),
            "EleutherAI--pythia-6.9b" => (32, 4096, 32, 32, 128, 16384, 50432),
            "EleutherAI--gpt-j-6b" => (28, 4096, 16, 16, 256, 16384, 50400),
            "allenai--OLMo-2-0425-1B" => (16, 2048, 16, 16, 128, 8192, 100352),
            "bigscience--bloom-560m" => (24, 1024, 16, 16, 64, 4096, 250880),
            "google--gemma-2-2b" => (26, 2304, 8, 4, 256, 9216, 256000),
            "google--gemma-3-1b-pt" => (26, 1152, 4, 1, 256, 6912, 262144),
            "microsoft--Phi-3-mini-4k-instruct" => (32, 3072, 32, 32, 96, 8192, 32064),
            "microsoft--phi-2" => (32, 2560, 32, 32, 80, 10240, 51200),
            "stabilityai--stablelm-2-1_6b" => (24, 2048, 32, 32, 64, 5632, 100352),
            "tiiuae--falcon-7b" => (32, 4544, 71, 1, 64, 18176, 65024),
            other => panic!("no expectation for {other}"),
        };
        let sizes = (
            spec.layers,
            spec.hidden,
            spec.heads,
            spec.kv_heads,
            spec.head_dim,
            spec.feed_forward,
            spec.vocabulary,
        );
        assert_eq!(sizes, expected, "{name}");
        read += 1;
    }
    assert_eq!(read, 19);
}

#[test]
fn a_truncated_or_lying_safetensors_is_a_sentence() {
    let copy = copy("gpt-neox-sequential");
    let path = copy.path().join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let with_header = |change: &dyn Fn(&str) -> String| {
        let text = change(std::str::from_utf8(&whole[8..8 + header]).unwrap());
        [(text.len() as u64).to_le_bytes().as_slice(), text.as_bytes(), &whole[8 + header..]]
            .concat()
    };
    for (what, bytes, sentence) in [
        ("cut in the data", whole[..whole.len() - 100].to_vec(), "cut short"),
        ("cut in the header", whole[..100].to_vec(), "its header is longer than its 100 bytes"),
        ("four bytes", whole[..4].to_vec(), "too few for a header"),
        ("nothing", Vec::new(), "model.safetensors is empty"),
        ("more than it says", [whole.clone(), vec![0; 8]].concat(), "not what its header says"),
        ("a header without end", [&[255u8; 8], &whole[8..]].concat(), "larger than any is"),
        (
            "another shape",
            with_header(&|h| h.replacen("\"shape\":[48]", "\"shape\":[47]", 1)),
            "another size than its shape",
        ),
        (
            "overlapping",
            with_header(&|h| h.replacen("\"data_offsets\":[0,", "\"data_offsets\":[4,", 1)),
            "is broken",
        ),
        ("no JSON", with_header(&|h| h.replacen('{', "[", 1)), "its header can't be read"),
        (
            "a pointer",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".to_vec(),
            "Git LFS pointer",
        ),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = fails(copy.path());
        assert!(error.contains(sentence), "{what}: {error}");
    }
}

#[test]
fn a_broken_pickle_is_a_sentence() {
    let copy = copy("opt");
    let path = copy.path().join("pytorch_model.bin");
    let whole = std::fs::read(&path).unwrap();
    for (what, bytes, sentence) in [
        ("no zip", b"\x80\x02}q\x00.".to_vec(), "is no file that PyTorch's save writes"),
        ("text", b"hello".to_vec(), "is no file that PyTorch's save writes"),
        ("cut short", whole[..whole.len() / 2].to_vec(), "is broken"),
        ("empty", Vec::new(), "is no file that PyTorch's save writes"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = fails(copy.path());
        assert!(error.contains(sentence), "{what}: {error}");
    }
}

/// `views.bin` is `torch.save({"whole": x, "second_half": x[3:], "column": x[:, 1], "turned":
/// x.t(), "half": x.half()})` of `x = torch.arange(12.).reshape(6, 2)`.
#[test]
fn tensors_of_a_pickle_that_are_views_into_one_storage() {
    let copy = copy("opt");
    let views = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/views.bin");
    std::fs::copy(views, copy.path().join("pytorch_model.bin")).unwrap();
    let weights = open(copy.path()).unwrap().weights;
    let values = |name: &str| {
        let tensor = weights.load(name, DType::F32, &Device::Cpu).unwrap();
        assert_eq!(Some(tensor.dims().to_vec()), weights.shape(name));
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_eq!(values("whole"), (0..12).map(|i| i as f32).collect::<Vec<_>>());
    assert_eq!(values("second_half"), [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
    assert_eq!(values("column"), [1.0, 3.0, 5.0, 7.0, 9.0, 11.0]);
    assert_eq!(values("turned"), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 1.0, 3.0, 5.0, 7.0, 9.0, 11.0]);
    assert_eq!(values("half"), (0..12).map(|i| i as f32).collect::<Vec<_>>());
}

#[test]
fn a_checkpoint_that_lacks_something_says_what() {
    let without = |case: &str, name: &str| {
        let copy = copy(case);
        std::fs::remove_file(copy.path().join(name)).unwrap();
        fails(copy.path())
    };
    assert!(without("gpt2", "config.json").contains("has no config.json"));
    assert!(without("gpt2", "model.safetensors").contains("has no weights"));
    assert!(without("gpt2", "tokenizer.json").contains("has no tokenizer"));
    assert!(without("opt", "merges.txt").contains("has no tokenizer"));
    assert!(
        without("llama", "model-00002-of-00002.safetensors")
            .contains("the shard model-00002-of-00002.safetensors is missing")
    );
    let file = directory("opt").join("config.json");
    assert!(fails(&file).contains("is a file"));
}

#[test]
fn a_config_that_can_not_be_honoured_is_refused() {
    let with = |case: &str, change: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
        let copy = copy(case);
        let path = copy.path().join("config.json");
        let mut config = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        std::fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
        fails(copy.path())
    };
    let set = |key: &'static str, value: serde_json::Value| {
        move |config: &mut serde_json::Map<String, serde_json::Value>| {
            config.insert(key.into(), value.clone());
        }
    };
    for (case, key, value, sentence) in [
        ("opt", "model_type", "optt".into(), "the model family \"optt\" is not supported"),
        ("stablelm", "model_type", "opt2".into(), "a family is one file under src/model/family"),
        ("qwen3", "model_type", "llamma".into(), "may take the config, and give wrong numbers"),
        (
            "opt",
            "quantization_config",
            serde_json::json!({"bits": 4}),
            "quantization_config = {\"bits\":4} can't be honoured",
        ),
        (
            "gpt-neox",
            "rope_scaling",
            serde_json::json!({"type": "axial", "factor": 2.0}),
            "the rope scaling \"axial\"",
        ),
        ("gpt-neox", "hidden_act", "laplace".into(), "the activation \"laplace\""),
        (
            "gpt2",
            "head_dim",
            4.into(),
            "head_dim is 4, and the fields that this family reads make it",
        ),
        ("opt", "hidden_size", "big".into(), "hidden_size must be a whole number"),
        ("opt", "num_attention_heads", 5.into(), "does not divide into 5 heads"),
        ("opt", "num_hidden_layers", 0.into(), "num_hidden_layers must be at least 1"),
        (
            "opt",
            "num_hidden_layers",
            4.into(),
            "the checkpoint has no weight model.decoder.layers.3",
        ),
        ("opt", "vocab_size", 319.into(), "config.json makes it [319, 48]"),
        ("opt", "ffn_dim", 100.into(), "and config.json makes it [100, 48]"),
        ("mistral", "num_key_value_heads", 3.into(), "do not share 3 key/value heads evenly"),
    ] {
        let error = with(case, &set(key, value));
        assert!(error.contains(sentence), "{case} {key}: {error}");
    }
    assert!(with("opt", &|config| drop(config.remove("model_type"))).contains("has no model_type"));
    assert!(
        with("opt", &|config| drop(config.remove("vocab_size")))
            .contains("config.json has no vocab_size")
    );
}

#[test]
fn weights_that_the_family_does_not_use_are_named_and_buffers_are_not() {
    for case in CASES {
        let checkpoint = open(&directory(case)).unwrap();
        let decoder =
            Decoder::load(&checkpoint.config, &checkpoint.weights, DType::F32, &Device::Cpu)
                .unwrap();
        assert!(
            decoder.checkpoint_names().unused.is_empty(),
            "{case}: {:?}",
            decoder.checkpoint_names().unused
        );
    }
    let copy = copy("gpt2");
    let path = copy.path().join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    tensors.insert(
        "adapter.weight".into(),
        candle_core::Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap(),
    );
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let checkpoint = open(copy.path()).unwrap();
    let decoder =
        Decoder::load(&checkpoint.config, &checkpoint.weights, DType::F32, &Device::Cpu).unwrap();
    assert_eq!(decoder.checkpoint_names().unused, ["adapter.weight"]);
}
