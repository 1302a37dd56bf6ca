//! What a token costs, beside a plain parallel read of the bytes that it must read, and what a
//! prompt costs, beside a plain pass.
//!
//!     PRECOMPUTE_BENCH_MODEL=ck/opt-125m cargo bench --bench generation

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use precompute::checkpoint::{Checkpoint, OpenOptions};
use precompute::hook::{Hooks, Layers, Observer, Unobserved};
use precompute::model::{
    Cache, Decoder, Generation, GenerationConfig, Input, Logits, Options, Sampling,
};
use precompute::tensor::WeightSource;
use rayon::prelude::*;

const PROMPT: usize = 32;
const TOKENS: usize = 48;
const ROUNDS: usize = 5;

fn main() {
    let id = std::env::var("PRECOMPUTE_BENCH_MODEL").unwrap_or_else(|_| "demo:opt".into());
    let checkpoint = Checkpoint::open(&id, &OpenOptions::default()).expect("the bench's model");
    let decoder = Decoder::load(&checkpoint.config, &checkpoint.weights, DType::F32, &Device::Cpu)
        .expect("the bench's model");
    let weights = Read::new(&checkpoint, decoder.spec().tied);
    let vocabulary = decoder.spec().vocabulary;
    let tokens =
        |n: usize| -> Vec<u32> { (0..n).map(|i| ((i * 37 + 5) % vocabulary) as u32).collect() };

    let mut rows = Vec::new();
    for _ in 0..ROUNDS {
        let read = median((0..8).map(|_| timed(|| weights.read())).collect());
        let plain = decode(&decoder, &tokens(PROMPT), &mut Unobserved);
        let mut hooks = Hooks::new();
        hooks
            .bind("post-mlp", Layers::All, |_, x| Ok(Some(x.clone())))
            .expect("a point of every family");
        let hooked = decode(&decoder, &tokens(PROMPT), &mut hooks);
        let long = Input::tokens(&tokens(decoder.spec().max_positions.min(512))).expect("tokens");
        let options = Options { logits: Logits::Last, ..Options::default() };
        let pass = timed(|| decoder.forward(&long, &options, &mut Unobserved).expect("a pass"));
        let prefill = timed(|| {
            let mut cache = Cache::new(decoder.spec().layers, long.len());
            decoder.extend(&long, &mut cache, &options, &mut Unobserved).expect("a pass")
        });
        rows.push([read, plain, hooked, pass, prefill]);
    }
    let of = |i: usize| median(rows.iter().map(|row| row[i]).collect());
    let ratio = |a: usize, b: usize| median(rows.iter().map(|row| row[a] / row[b]).collect());
    println!(
        "{id}: {:.1} MB of weights a token, medians of {ROUNDS} rounds",
        weights.bytes() as f64 / 1e6
    );
    println!(
        "  a plain parallel read   {:9.3} ms, {:.1} GB/s",
        of(0) * 1e3,
        weights.bytes() as f64 / of(0) / 1e9
    );
    println!("  a token                 {:9.3} ms, {:.1} tokens/s", of(1) * 1e3, 1.0 / of(1));
    println!("  of the read's bandwidth {:9.3}", ratio(0, 1));
    println!("  hooked in every block   {:9.3} x plain", ratio(2, 1));
    println!(
        "  prefill                 {:9.3} x a plain pass ({:.1} ms)",
        ratio(4, 3),
        of(3) * 1e3
    );
}

/// The weights that a token reads, to be read as fast as memory gives them.
struct Read(Vec<Vec<f32>>);

impl Read {
    fn new(checkpoint: &Checkpoint, tied: bool) -> Self {
        let names = checkpoint.weights.names().into_iter();
        // Of an embedding table a token reads one row, unless it unembeds too.
        let read = names.filter(|name| {
            let table = name.contains("embed_tokens")
                || name.contains("embed_in")
                || name.ends_with("wte.weight");
            !(name.contains("embed_positions") || name.ends_with("wpe.weight") || table && !tied)
        });
        let load = |name: String| {
            checkpoint.weights.load(&name, DType::F32, &Device::Cpu).expect("a weight")
        };
        let values = |tensor: Tensor| {
            tensor.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("a weight's values")
        };
        Self(read.map(load).map(values).collect())
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|weight| weight.len() * 4).sum()
    }

    fn read(&self) -> f32 {
        let sum = |part: &[f32]| {
            let mut lanes = [0f32; 64];
            for chunk in part.chunks_exact(64) {
                lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane += x);
            }
            lanes.iter().sum::<f32>()
        };
        self.0.par_iter().map(|weight| weight.par_chunks(1 << 16).map(sum).sum::<f32>()).sum()
    }
}

/// Seconds a token, the first aside.
fn decode(decoder: &Decoder, prompt: &[u32], observer: &mut dyn Observer) -> f64 {
    let plan = GenerationConfig {
        max_new_tokens: TOKENS,
        sampling: Sampling::default(),
        beams: 1,
        ends: Vec::new(),
        pad: 0,
        cache: true,
        beyond: true,
    };
    let tokens = TOKENS.min(decoder.spec().max_positions - prompt.len());
    let plan = GenerationConfig { max_new_tokens: tokens, ..plan };
    let mut generation =
        Generation::new(decoder, Input::tokens(prompt).expect("tokens"), plan).expect("a plan");
    generation.advance(observer).expect("a pass");
    let mut steps = Vec::new();
    while !generation.is_done() {
        steps.push(timed(|| generation.advance(observer).expect("a pass")));
    }
    median(steps)
}

fn timed<T>(work: impl FnOnce() -> T) -> f64 {
    let began = Instant::now();
    std::hint::black_box(work());
    began.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
