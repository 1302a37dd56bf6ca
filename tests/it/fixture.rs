//! The tiny checkpoints under tests/fixtures, and their goldens.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use precompute::checkpoint::{Checkpoint, OpenOptions};
use precompute::hook::Point;
use precompute::model::family::VERIFIED;
use precompute::model::spec::{NormPlace, Spec};
use precompute::model::{Decoder, Input};
use precompute::tensor::WeightSource;

/// Every case: the fixtures that `precompute models --families` lists.
pub const CASES: &[&str] = &fixtures();

const fn fixtures() -> [&'static str; VERIFIED.len()] {
    let mut names = [""; VERIFIED.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = VERIFIED[at].fixture;
        at += 1;
    }
    names
}

pub struct Fixture {
    pub case: &'static str,
    pub decoder: Decoder,
    pub golden: HashMap<String, Tensor>,
}

pub fn directory(case: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(case)
}

/// The points whose goldens are in inputs.safetensors. Three of them are copies of the stream, and
/// have none of a plain pass.
pub const INPUTS: [Point; 6] = [
    Point::QueryInput,
    Point::KeyInput,
    Point::ValueInput,
    Point::PreQueryStates,
    Point::PreKeyStates,
    Point::MlpInput,
];

/// The goldens of a case, by key.
pub fn golden(case: &str) -> HashMap<String, Tensor> {
    let read = |file: &str| {
        candle_core::safetensors::load(directory(case).join(file), &Device::Cpu).unwrap()
    };
    let mut all = read("golden.safetensors");
    all.extend(read("inputs.safetensors"));
    all
}

fn load(id: &str, dtype: DType) -> Decoder {
    let checkpoint = Checkpoint::open(id, &OpenOptions::default()).unwrap();
    Decoder::load(&checkpoint.config, &checkpoint.weights, dtype, &Device::Cpu).unwrap()
}

impl Fixture {
    pub fn load(case: &'static str) -> Self {
        Self {
            case,
            decoder: load(directory(case).to_str().unwrap(), DType::F32),
            golden: golden(case),
        }
    }

    /// The same model in float32, with its weights rounded to another dtype.
    pub fn rounded(&self, dtype: DType) -> Decoder {
        let checkpoint =
            Checkpoint::open(directory(self.case).to_str().unwrap(), &OpenOptions::default())
                .unwrap();
        let rounded = |name: String| {
            let weight = self.weight(&name).to_dtype(dtype).unwrap().to_dtype(DType::F32).unwrap();
            (name, weight)
        };
        let weights: HashMap<String, Tensor> =
            checkpoint.weights.names().into_iter().map(rounded).collect();
        Decoder::load(&checkpoint.config, &weights, DType::F32, &Device::Cpu).unwrap()
    }

    /// The same model in another dtype.
    pub fn reload(&self, dtype: DType) -> Decoder {
        load(directory(self.case).to_str().unwrap(), dtype)
    }

    pub fn golden(&self, key: &str) -> &Tensor {
        self.golden.get(key).unwrap_or_else(|| panic!("{} has no golden {key}", self.case))
    }

    pub fn input(&self) -> Input {
        Input::new(self.golden("ids"), None).unwrap()
    }

    /// A tensor of the checkpoint, in float32.
    pub fn weight(&self, name: &str) -> Tensor {
        let checkpoint =
            Checkpoint::open(directory(self.case).to_str().unwrap(), &OpenOptions::default())
                .unwrap();
        checkpoint.weights.load(name, DType::F32, &Device::Cpu).unwrap()
    }

    pub fn layers(&self) -> usize {
        self.decoder.spec().layers
    }

    /// What stands at a point whose tensor is the stream, or copies of it, in a plain pass: from the
    /// goldens of the stream.
    pub fn of_stream(&self, point: Point, layer: usize) -> Option<Tensor> {
        let spec = self.decoder.spec();
        let golden = |name: &str| self.golden(&format!("plain/{layer}/{name}")).clone();
        let copies = |heads: usize| {
            let x = golden("pre-block");
            let (b, n, d) = x.dims3().unwrap();
            x.unsqueeze(1).unwrap().expand((b, heads, n, d)).unwrap()
        };
        match point {
            Point::QueryInput => Some(copies(spec.heads)),
            Point::KeyInput | Point::ValueInput => Some(copies(spec.kv_heads)),
            Point::MlpInput if spec.parallel => Some(golden("pre-block")),
            // A norm stands between the two.
            Point::MlpInput if spec.norm_place == NormPlace::After => Some(golden("pre-mlp")),
            Point::MlpInput => Some(golden("post-attn")),
            _ => None,
        }
    }
}

/// The largest absolute difference; infinite where the shapes differ or one is not a number.
pub fn difference(a: &Tensor, b: &Tensor) -> f32 {
    if a.dims() != b.dims() {
        return f32::INFINITY;
    }
    let flat = |t: &Tensor| {
        t.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    flat(a)
        .into_iter()
        .zip(flat(b))
        .map(|(x, y)| if x == y { 0.0 } else { (x - y).abs() })
        .fold(0.0, |most, d| if d.is_nan() { f32::INFINITY } else { f32::max(most, d) })
}

/// What projections give, as the family clips it.
pub fn clipped(x: Tensor, spec: &Spec) -> Tensor {
    match spec.qkv_clip {
        Some(most) => x.clamp(-most, most).unwrap(),
        None => x,
    }
}

/// A model and an input for it, without goldens: every fixture and both demos.
pub struct Subject {
    pub name: String,
    pub decoder: Decoder,
    pub input: Input,
}

impl Subject {
    fn new(id: &str, name: &str) -> Self {
        let decoder = load(id, DType::F32);
        let vocabulary = decoder.spec().vocabulary as u32;
        let ids: Vec<u32> = (0..24).map(|i| (i * 37 + 5) % vocabulary).collect();
        let input =
            Input::new(&Tensor::from_vec(ids, (2, 12), &Device::Cpu).unwrap(), None).unwrap();
        Self { name: name.into(), decoder, input }
    }

    /// A tensor of the checkpoint, in float32.
    pub fn weight(&self, name: &str) -> Tensor {
        let checkpoint = Checkpoint::open(&self.id(), &OpenOptions::default()).unwrap();
        checkpoint.weights.load(name, DType::F32, &Device::Cpu).unwrap()
    }

    /// The same model in another dtype.
    pub fn reload(&self, dtype: DType) -> Decoder {
        load(&self.id(), dtype)
    }

    /// The same model with every weight replaced by `f` of its name and of it.
    pub fn with(&self, f: impl Fn(&str, Tensor) -> Tensor) -> Decoder {
        let checkpoint = Checkpoint::open(&self.id(), &OpenOptions::default()).unwrap();
        let changed = |name: String| {
            let weight = checkpoint.weights.load(&name, DType::F32, &Device::Cpu).unwrap();
            let weight = f(&name, weight);
            (name, weight)
        };
        let weights: HashMap<String, Tensor> =
            checkpoint.weights.names().into_iter().map(changed).collect();
        Decoder::load(&checkpoint.config, &weights, DType::F32, &Device::Cpu).unwrap()
    }

    /// The same model with every matrix times `factor`.
    pub fn with_matrices_times(&self, factor: f64) -> Decoder {
        self.with(|_, weight| if weight.rank() > 1 { (weight * factor).unwrap() } else { weight })
    }

    fn id(&self) -> String {
        if self.name.starts_with("demo:") {
            self.name.clone()
        } else {
            directory(&self.name).display().to_string()
        }
    }
}

pub fn subjects() -> Vec<Subject> {
    let fixtures = CASES.iter().map(|case| Subject::new(directory(case).to_str().unwrap(), case));
    fixtures.chain(["demo:opt", "demo:gpt-neox"].map(|demo| Subject::new(demo, demo))).collect()
}

/// The prompt of a case's golden continuation, and the continuation.
pub fn greedy(case: &str) -> (Vec<u32>, Vec<u32>) {
    let text = std::fs::read_to_string(directory(case).join("golden.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
    let ids = |name: &str| serde_json::from_value(golden["greedy"][name].clone()).unwrap();
    (ids("prompt_ids"), ids("continuation"))
}
