//! candle-transformers has its own Llama: on the fixtures it gives the same logits.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama;
use precompute::checkpoint::{Checkpoint, Open};
use precompute::model::WeightSource;

use crate::fixture::{Fixture, difference, directory};

fn weights(case: &str) -> VarBuilder<'static> {
    let checkpoint = Checkpoint::open(directory(case).to_str().unwrap(), &Open::default()).unwrap();
    let load = |name: String| {
        let tensor = checkpoint.weights.load(&name, DType::F32, &Device::Cpu).unwrap();
        (name, tensor)
    };
    let tensors = checkpoint.weights.names().into_iter().map(load).collect();
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

fn config<T: serde::de::DeserializeOwned>(case: &str) -> T {
    serde_json::from_slice(&std::fs::read(directory(case).join("config.json")).unwrap()).unwrap()
}

fn agree(case: &'static str, theirs: &Tensor) {
    let fixture = Fixture::load(case);
    let logits = fixture.decoder.logits(&fixture.input()).unwrap();
    let last = logits.narrow(1, logits.dim(1).unwrap() - 1, 1).unwrap();
    let difference = difference(&theirs.reshape(last.shape()).unwrap(), &last);
    assert!(difference < 1e-4, "{case}: off by {difference}");
}

#[test]
fn llama_and_its_rope_scaling() {
    for case in ["llama", "llama3-rope"] {
        let config = config::<llama::LlamaConfig>(case).into_config(false);
        let model = llama::Llama::load(weights(case), &config).unwrap();
        let mut cache = llama::Cache::new(false, DType::F32, &config, &Device::Cpu).unwrap();
        agree(case, &model.forward(Fixture::load(case).golden("ids"), 0, &mut cache).unwrap());
    }
}
