//! Tokenizers of every kind, beside transformers' `AutoTokenizer`.
//!
//! The fixtures and the goldens are written by tests/oracle/token_ids.py.

mod ids;
mod labels;
mod streaming;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use precompute::checkpoint::{Checkpoint, OpenOptions};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// Every kind.
const KINDS: [&str; 17] = [
    "byte-level",
    "neox",
    "slow",
    "slow-qwen",
    "spm",
    "spm-bare",
    "spm-unigram",
    "falcon",
    "llama3",
    "qwen",
    "llama2",
    "llama-metaspace",
    "gemma",
    "unigram",
    "wordpiece",
    "wordlevel",
    "end-of-word",
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers")
}

/// What transformers makes of the fixtures.
fn golden() -> Value {
    serde_json::from_slice(&std::fs::read(fixtures().join("golden.json")).unwrap()).unwrap()
}

/// The directory of a checkpoint with the tokenizer of a kind, one weight that means nothing, and
/// files of the test.
fn checkpoint(kind: &str, files: &Map<String, Value>) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixtures().join(kind)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        std::fs::copy(&path, directory.path().join(name)).unwrap();
    }
    for (name, content) in files {
        std::fs::write(directory.path().join(name), content.to_string()).unwrap();
    }
    let weight = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
    let weights = std::collections::HashMap::from([("weight".to_owned(), weight)]);
    let file = directory.path().join("model.safetensors");
    candle_core::safetensors::save(&weights, file).unwrap();
    directory
}

fn open(directory: &TempDir) -> Checkpoint {
    Checkpoint::open(directory.path().to_str().unwrap(), &OpenOptions::default()).unwrap()
}

/// The checkpoint of a kind with the config that it comes with.
fn kind(kind: &str) -> Checkpoint {
    let config = golden()["kinds"][kind][0]["config"].clone();
    let files = Map::from_iter([("tokenizer_config.json".to_owned(), config)]);
    let directory = checkpoint(kind, &files);
    let opened = open(&directory);
    // The tokenizer is read when it is first asked for, and the directory does not last.
    opened.tokenizer().unwrap();
    opened
}

/// A directory with the weights of the fixture `llama` and the tokenizer of a kind, which has as
/// many tokens at most.
fn model(tokenizer: &str) -> TempDir {
    let config = json!(golden()["kinds"][tokenizer][0]["config"]);
    let directory =
        checkpoint(tokenizer, &Map::from_iter([("tokenizer_config.json".to_owned(), config)]));
    std::fs::remove_file(directory.path().join("model.safetensors")).unwrap();
    for entry in std::fs::read_dir(crate::fixture::directory("llama")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with("model") || name == "config.json" {
            std::fs::copy(&path, directory.path().join(name)).unwrap();
        }
    }
    directory
}
