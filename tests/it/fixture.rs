//! The tiny checkpoints under tests/fixtures, and their goldens.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use precompute::model::{Decoder, Input};

/// Every case, and the layers it has.
pub const CASES: &[&str] = &[
    "opt",
    "opt-post-norm",
    "gpt-neox",
    "gpt-neox-sequential",
    "gpt2",
    "llama",
    "llama3-rope",
    "mistral",
    "qwen2",
    "qwen3",
];

pub struct Fixture {
    pub case: &'static str,
    pub decoder: Decoder,
    pub golden: HashMap<String, Tensor>,
}

pub fn directory(case: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(case)
}

impl Fixture {
    pub fn load(case: &'static str) -> Self {
        let directory = directory(case);
        let config = std::fs::read(directory.join("config.json")).unwrap();
        let config: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&config).unwrap();
        let mut weights: HashMap<String, Tensor> = HashMap::new();
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("model") && name.ends_with(".safetensors") {
                weights.extend(candle_core::safetensors::load(&path, &Device::Cpu).unwrap());
            } else if name.ends_with(".bin") {
                weights.extend(candle_core::pickle::read_all(&path).unwrap());
            }
        }
        let decoder = Decoder::load(&config, &weights, DType::F32, &Device::Cpu).unwrap();
        let golden = candle_core::safetensors::load(directory.join("golden.safetensors"), &Device::Cpu).unwrap();
        Self { case, decoder, golden }
    }

    pub fn golden(&self, key: &str) -> &Tensor {
        self.golden.get(key).unwrap_or_else(|| panic!("{} has no golden {key}", self.case))
    }

    pub fn input(&self) -> Input {
        Input::new(self.golden("ids"), None).unwrap()
    }

    pub fn layers(&self) -> usize {
        self.decoder.spec().layers
    }
}

/// The largest absolute difference; infinite where the shapes differ or one is not a number.
pub fn difference(a: &Tensor, b: &Tensor) -> f32 {
    if a.dims() != b.dims() {
        return f32::INFINITY;
    }
    let flat = |t: &Tensor| t.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    flat(a)
        .into_iter()
        .zip(flat(b))
        .map(|(x, y)| if x == y { 0.0 } else { (x - y).abs() })
        .fold(0.0, |most, d| if d.is_nan() { f32::INFINITY } else { f32::max(most, d) })
}
