//! GGUF files that llama.cpp's `gguf` wrote (tests/oracle/gguf_files.py), beside what transformers computes
//! with the same weights.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{Content, Value, write};
use candle_core::{DType, Device, Tensor};
use precompute::checkpoint::{Checkpoint, OpenOptions};
use precompute::hook::{Capture, Layers, Point};
use precompute::model::{Decoder, Input, Options};
use precompute::tensor::WeightSource;

use crate::fixture::directory;
use crate::run;

const ARCHITECTURES: [&str; 12] = [
    "llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3", "gpt2", "gptneox", "olmo2",
    "stablelm", "falcon",
];

fn file(architecture: &str) -> PathBuf {
    directory("gguf").join(format!("{architecture}.gguf"))
}

fn golden(architecture: &str) -> HashMap<String, Tensor> {
    let path = directory("gguf").join(format!("{architecture}.safetensors"));
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn open(path: &Path) -> Result<Checkpoint, String> {
    let opened = Checkpoint::open(path.to_str().unwrap(), &OpenOptions::default());
    opened.map_err(|error| error.to_string())
}

fn numbers(t: &Tensor) -> Vec<f32> {
    t.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Each number as near as 1e-4 of the largest.
#[track_caller]
fn near(what: &str, got: &Tensor, expected: &Tensor) {
    assert_eq!(got.dims(), expected.dims(), "{what}");
    let (got, expected) = (numbers(got), numbers(expected));
    let largest = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
    let off = got.iter().zip(&expected).fold(0f32, |most, (x, y)| most.max((x - y).abs()));
    println!("{what}: off by {off:.2e}, the largest is {largest:.2e}");
    assert!(off <= 1e-4 * largest, "{what} is off by {off}, the largest is {largest}");
}

#[test]
fn every_architecture_computes_what_transformers_does() {
    for architecture in ARCHITECTURES {
        let (checkpoint, golden) = (open(&file(architecture)).unwrap(), golden(architecture));
        let decoder =
            Decoder::load(&checkpoint.config, &checkpoint.weights, DType::F32, &Device::Cpu)
                .unwrap();
        let points = [Point::PreBlock, Point::AttnProbs];
        let mut capture = Capture::new(points.map(|point| (point, Layers::All)));
        let ids = golden["ids"].to_dtype(DType::U32).unwrap();
        let input = Input::new(&ids, None).unwrap();
        let output = decoder.forward(&input, &Options::default(), &mut capture).unwrap();
        for layer in 0..decoder.spec().layers {
            let at = |point: Point| capture.get(point, Some(layer)).unwrap();
            let name = |point: &str| format!("{layer}.{point}");
            let what = |point: &str| format!("{architecture}: {layer}.{point}");
            near(&what("pre-block"), at(Point::PreBlock), &golden[&name("pre-block")]);
            let weights = at(Point::AttnProbs);
            near(&what("attn-weights"), weights, &golden[&name("attn-weights")]);
        }
        near(&format!("{architecture}: logits"), &output.logits.unwrap(), &golden["logits"]);
    }
}

#[test]
fn its_tokenizer_gives_the_ids_of_the_one_that_it_was_made_of() {
    const TEXT: &str = "The cat sat on the mat,  and 12345 dogs didn't.\n\nÜber!";
    for architecture in ["llama", "gpt2"] {
        let checkpoint = open(&file(architecture)).unwrap();
        let ids = checkpoint.tokenizer().unwrap().encode(TEXT, true).unwrap();
        let expected = golden(architecture)["token_ids"].to_dtype(DType::U32).unwrap();
        assert_eq!(ids, expected.to_vec1::<u32>().unwrap(), "{architecture}");
    }
}

#[test]
fn scripts_hook_read_and_save_such_a_model() {
    let home = tempfile::tempdir().unwrap();
    std::fs::copy(file("llama"), home.path().join("tiny.gguf")).unwrap();
    let script = format!(
        r#"
        let m = model({:?});
        let ids = m.encode("The cat sat on the mat");
        let off = hook("post-mlp", |x, ctx| x * 0.0);
        print(m.forward(ids, [off]).logits.shape);
        print(m.weight("model.layers.0.self_attn.q_proj.weight").shape);
        let stopped = m.forward(ids, #{{stop: "post-mlp@1"}}).stopped;
        let logits = m.unembed(m.final_norm(stopped));
        if (logits - m.forward(ids).logits).abs().max().item() > 1e-4 {{ throw "unembed is another"; }}
        print(m.generate(ids, #{{max_new_tokens: 3}}).ids.shape);
        m.save("copy");
        "#,
        home.path().to_str().unwrap()
    );
    let ran = run::script(&script, &[]).ok();
    println!("{}", ran.stdout());
    let copy = open(&ran.file("copy")).unwrap();
    let given = open(&home.path().join("tiny.gguf")).unwrap();
    for name in given.weights.names().iter().filter(|name| name.contains("_proj")) {
        let read = |checkpoint: &Checkpoint| {
            numbers(&checkpoint.weights.load(name, DType::F32, &Device::Cpu).unwrap())
        };
        assert_eq!(read(&copy), read(&given), "{name}");
    }
    let text = "The cat sat";
    let ids = |checkpoint: &Checkpoint| checkpoint.tokenizer().unwrap().encode(text, true).unwrap();
    assert_eq!(ids(&copy), ids(&given));
}

#[test]
fn weights_in_half_precision_are_kept_and_read_in_float32() {
    let script = format!(
        r#"
        let m = model({:?});
        let all = [m.embedding(), m.unembedding().w, m.unembedding().b];
        for part in [m.heads(1), m.mlp(1)] {{
            for x in part.values() {{ if type_of(x) != "()" {{ all.push(x); }} }}
        }}
        for x in all {{ if x.dtype != "f32" {{ throw "a weight of " + x.dtype; }} }}
        let ids = tensor([[5, 6, 7, 8]]);
        let each = m.capture(ids, "attn-head-outputs", #{{layers: [1]}});
        let one = hook("query-input@1", |x, ctx| x * 1.0);
        let apart = m.forward(ids, [one]).logits - m.forward(ids).logits;
        print(apart.abs().max().item() < 1e-4);
        "#,
        file("gpt2")
    );
    assert_eq!(run::script(&script, &[]).ok().stdout().trim(), "true");
    let checkpoint = open(&file("falcon")).unwrap();
    let name = "transformer.h.0.mlp.dense_h_to_4h.weight";
    assert_eq!(checkpoint.weights.load_factor(name).unwrap().dtype(), DType::BF16);
    let gain = "transformer.h.0.ln_mlp.weight";
    assert_eq!(checkpoint.weights.load_factor(gain).unwrap().dtype(), DType::F32);
}

/// A file with other bytes from `at` on.
fn patched(bytes: &[u8], at: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

/// Where a text ends in a file.
fn after(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).position(|part| part == text.as_bytes()).unwrap() + text.len()
}

#[test]
fn what_a_file_says_of_itself_is_checked() {
    let bytes = std::fs::read(file("qwen2")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("it.gguf");
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        open(&path).err().unwrap_or_default()
    };
    // The name, two dims of eight bytes, the type, the place.
    let tensor = after(&bytes, "blk.0.attn_q.weight") + 4;
    let (dims, dtype, place) = (tensor, tensor + 16, tensor + 20);
    let number = |n: u64| n.to_le_bytes();
    let heads = after(&bytes, "qwen2.attention.head_count") + 4;
    for (what, bytes, said) in [
        (
            "IQ4_XS",
            patched(&bytes, dtype, &23u32.to_le_bytes()),
            "tensors of IQ4_XS, which is not read",
        ),
        ("MXFP4", patched(&bytes, dtype, &39u32.to_le_bytes()), "tensors of MXFP4"),
        ("no type", patched(&bytes, dtype, &77u32.to_le_bytes()), "tensors of type 77"),
        (
            "beyond the end",
            patched(&bytes, place, &number(1 << 40)),
            "cut short at blk.0.attn_q.weight",
        ),
        ("no place", patched(&bytes, place, &number(u64::MAX)), "broken"),
        ("an odd place", patched(&bytes, place, &number(1)), "the alignment"),
        ("no elements", patched(&bytes, dims, &number(0)), "the shape"),
        ("too many", patched(&bytes, dims, &number(u64::MAX / 2)), "the shape"),
        ("half a block", patched(&bytes, dims, &number(33)), "the shape"),
        ("tensors", patched(&bytes, 8, &number(1 << 50)), "broken"),
        ("metadata", patched(&bytes, 16, &number(1 << 29)), "broken"),
        ("a version", patched(&bytes, 4, &9u32.to_le_bytes()), "broken"),
        ("no heads", patched(&bytes, heads, &0u32.to_le_bytes()), "0 heads"),
        (
            "heads",
            patched(&bytes, heads, &u32::MAX.to_le_bytes()),
            "heads are none that a model has",
        ),
        ("cut", bytes[..bytes.len() - 40].to_vec(), "cut short"),
        ("nothing", Vec::new(), "is no GGUF file"),
    ] {
        let error = refused(&bytes);
        println!("{what}: {error}");
        assert!(error.contains(said), "{what}: {error:?}");
    }
    // An alignment of 0 divides by nothing.
    let unaligned = crafted(&[
        ("general.alignment", 4, &0u32.to_le_bytes()),
        ("general.architecture", 8, &text("qwen2")),
    ]);
    assert!(refused(&unaligned).contains("broken"));
    let other = crafted(&[("general.architecture", 8, &text("mamba"))]);
    assert!(refused(&other).contains("the architecture \"mamba\" is not supported"));
}

/// A text as GGUF files have it.
fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A file without tensors, of metadata given by key, type and bytes.
fn crafted(metadata: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut bytes = [&b"GGUF"[..], &3u32.to_le_bytes(), &0u64.to_le_bytes()].concat();
    bytes.extend((metadata.len() as u64).to_le_bytes());
    for (key, kind, value) in metadata {
        bytes.extend(text(key));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(*value);
    }
    bytes
}

#[test]
fn metadata_that_would_change_the_model_is_not_passed_over() {
    let bytes = std::fs::read(file("gemma")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("it.gguf");
    // A key of the same length.
    let key = after(&bytes, "gemma.context_length") - "context_length".len();
    std::fs::write(&path, patched(&bytes, key, b"logit_scaling1")).unwrap();
    let error = open(&path).err().unwrap();
    assert!(error.contains("gemma.context_length") || error.contains("logit_scaling1"), "{error}");
}

#[test]
fn a_model_split_over_several_files_is_opened_by_the_first() {
    let mut given = std::io::BufReader::new(std::fs::File::open(file("gemma")).unwrap());
    let content = Content::read(&mut given).unwrap();
    let count = Value::U16(2);
    let mut metadata: Vec<(&str, &Value)> =
        content.metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
    metadata.push(("split.count", &count));
    let mut names: Vec<&String> = content.tensor_infos.keys().collect();
    names.sort();
    let tensors: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), content.tensor(&mut given, name, &Device::Cpu).unwrap()))
        .collect();
    let home = tempfile::tempdir().unwrap();
    let (first, second) = tensors.split_at(7);
    for (part, tensors) in [(1, first), (2, second)] {
        let path = home.path().join(format!("it-0000{part}-of-00002.gguf"));
        let mut to = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
        let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
        write(&mut to, &metadata, &tensors).unwrap();
    }
    let (whole, split) = (open(&file("gemma")).unwrap(), open(home.path()).unwrap());
    assert_eq!(split.weights.names(), whole.weights.names());
    let read = |checkpoint: &Checkpoint, name: &str| {
        numbers(&checkpoint.weights.load(name, DType::F32, &Device::Cpu).unwrap())
    };
    for name in whole.weights.names() {
        assert_eq!(read(&split, &name), read(&whole, &name), "{name}");
    }
    let second = home.path().join("it-00002-of-00002.gguf");
    assert!(open(&second).err().unwrap().contains("is not the first of the 2 files"));
    std::fs::remove_file(second).unwrap();
    assert!(open(home.path()).err().unwrap().contains("it-00002-of-00002.gguf is missing"));
}

#[test]
fn a_file_in_a_directory_or_a_name_that_is_none() {
    let home = tempfile::tempdir().unwrap();
    let said = |id: &Path| open(id).err().unwrap_or_default();
    std::fs::copy(file("gemma"), home.path().join("a.gguf")).unwrap();
    assert_eq!(said(home.path()), "");
    std::fs::copy(file("gemma"), home.path().join("b.gguf")).unwrap();
    assert!(said(home.path()).contains("has 2 GGUF files: a.gguf, b.gguf"));
    std::fs::write(home.path().join("c.txt"), "").unwrap();
    assert!(said(&home.path().join("c.txt")).contains("a model is a GGUF file, or a directory"));
}
