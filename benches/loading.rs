//! What loading costs, and a write into a log.
//!
//!     cargo bench --bench loading [-- FILTER]

use std::path::Path;

use candle_core::{DType, Device};
use criterion::{Criterion, criterion_group, criterion_main};
use precompute::checkpoint::{Checkpoint, OpenOptions};
use precompute::model::Decoder;
use precompute::script::{Host, Settings};

/// The checkpoint that the benches run on: a directory in PRECOMPUTE_BENCH_MODEL, else the embedded
/// demo.
fn model() -> String {
    std::env::var("PRECOMPUTE_BENCH_MODEL").unwrap_or_else(|_| "demo:opt".into())
}

fn load() -> Decoder {
    let checkpoint =
        Checkpoint::open(&model(), &OpenOptions::default()).expect("the bench's model");
    Decoder::load(&checkpoint.config, &checkpoint.weights, DType::F32, &Device::Cpu)
        .expect("the bench's model")
}

fn loading(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("load");
    group.sample_size(10);
    group.bench_function("checkpoint and decoder", |b| b.iter(load));
    if !Path::new(&model()).is_dir() {
        group.bench_function("tokenizer", |b| {
            b.iter(|| {
                Checkpoint::open(&model(), &OpenOptions::default())
                    .expect("a checkpoint")
                    .tokenizer()
                    .map(|_| ())
            })
        });
    }
    group.finish();
}

/// `log[layer] = x` costs x, however large the log: both sizes should take the same time.
fn log_writes(bench: &mut Criterion) {
    let host = Host::new(Settings::default()).expect("a host");
    let mut group = bench.benchmark_group("log[layer] = x, 1000 times");
    group.sample_size(10);
    for layers in [2, 64] {
        let script = format!(
            "let log = zeros([{layers}, 64, 256]); let x = ones([64, 256]); \
             for i in 0..1000 {{ log[i % {layers}] = x; }}"
        );
        group.bench_function(format!("a log of {layers} layers"), |b| {
            b.iter(|| host.eval(&script).expect("a script"))
        });
    }
    group.finish();
}

criterion_group!(benches, loading, log_writes);
criterion_main!(benches);
