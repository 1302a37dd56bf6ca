//! candle-transformers has its own models of some families: on the fixtures they give the same
//! logits. Those that do not as transformers does are left out: its Gemma 2 scales scores by the
//! head's size, its Mistral's window is one key longer, its Phi-3 has no window and no long
//! factors, its Falcon's GELU is the approximation.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{llama, olmo2, phi, qwen2, qwen3, stable_lm};
use precompute::checkpoint::{Checkpoint, OpenOptions};
use precompute::model::family::VERIFIED;
use precompute::tensor::WeightSource;
use serde_json::{Value, json};

use crate::fixture::{Fixture, difference, directory};

fn weights(case: &str) -> VarBuilder<'static> {
    let checkpoint =
        Checkpoint::open(directory(case).to_str().unwrap(), &OpenOptions::default()).unwrap();
    let load = |name: String| {
        let tensor = checkpoint.weights.load(&name, DType::F32, &Device::Cpu).unwrap();
        (name, tensor)
    };
    let tensors = checkpoint.weights.names().into_iter().map(load).collect();
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

/// The case's config, with what candle's reader wants besides.
fn config<T: serde::de::DeserializeOwned>(case: &str, besides: Value) -> T {
    let text = std::fs::read(directory(case).join("config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&text).unwrap();
    config.as_object_mut().unwrap().extend(besides.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

/// The last logits of the first of the goldens' inputs, which every model of theirs reads, are
/// ours.
fn agree(case: &'static str, theirs: impl FnOnce(&Tensor) -> candle_core::Result<Tensor>) {
    let stated = VERIFIED.iter().find(|verified| verified.fixture == case).unwrap();
    assert!(stated.second_opinion, "{case} has a second opinion, and the table does not say so");
    let fixture = Fixture::load(case);
    let ids = fixture.golden("ids").narrow(0, 0, 1).unwrap().to_dtype(DType::U32).unwrap();
    let theirs = theirs(&ids).unwrap();
    let theirs = theirs.reshape(((), theirs.dims()[theirs.rank() - 1])).unwrap();
    let theirs = theirs.get(theirs.dim(0).unwrap() - 1).unwrap();
    let ours = fixture.golden("plain/logits").get(0).unwrap();
    let ours = ours.get(ours.dim(0).unwrap() - 1).unwrap();
    let difference = difference(&theirs, &ours);
    assert!(difference < 1e-4, "{case}: off by {difference}");
}

#[test]
fn llama_and_its_rope_scaling() {
    for case in ["llama", "llama3-rope"] {
        let config = config::<llama::LlamaConfig>(case, json!({})).into_config(false);
        let model = llama::Llama::load(weights(case), &config).unwrap();
        let mut cache = llama::Cache::new(false, DType::F32, &config, &Device::Cpu).unwrap();
        agree(case, |ids| model.forward(ids, 0, &mut cache));
    }
}

#[test]
fn qwen2_and_qwen3() {
    let besides = json!({"sliding_window": 64, "max_window_layers": 2, "rope_theta": 10000.0});
    let config2 = config("qwen2", besides.clone());
    agree("qwen2", |ids| qwen2::ModelForCausalLM::new(&config2, weights("qwen2"))?.forward(ids, 0));
    let config3 = config("qwen3", besides);
    agree("qwen3", |ids| qwen3::ModelForCausalLM::new(&config3, weights("qwen3"))?.forward(ids, 0));
}

#[test]
fn phi_2() {
    let config = config("phi", json!({}));
    agree("phi", |ids| phi::Model::new(&config, weights("phi"))?.forward(ids));
}

#[test]
fn stablelm() {
    let config = config("stablelm", json!({}));
    agree("stablelm", |ids| stable_lm::Model::new(&config, weights("stablelm"))?.forward(ids, 0));
}

#[test]
fn olmo_2() {
    let config = config("olmo2", json!({}));
    agree("olmo2", |ids| olmo2::Model::new(&config, weights("olmo2"))?.forward(ids, 0));
}
