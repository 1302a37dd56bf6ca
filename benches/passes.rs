//! What a pass costs, plain, captured and hooked from a script; what loading costs; what a write into a log costs.
//!
//!     cargo bench --bench passes [-- FILTER]

use std::path::Path;

use candle_core::{DType, Device};
use criterion::{Criterion, criterion_group, criterion_main};
use precompute::checkpoint::{Checkpoint, Open};
use precompute::hook::{Capture, Layers, Point, Unobserved};
use precompute::model::{Decoder, Input, Logits, Options};
use precompute::script::{Host, Settings};

/// The checkpoint that the benches run on: a directory in PRECOMPUTE_BENCH_MODEL, else the embedded demo.
fn model() -> String {
    std::env::var("PRECOMPUTE_BENCH_MODEL").unwrap_or_else(|_| "demo:opt".into())
}

fn load() -> Decoder {
    let checkpoint = Checkpoint::open(&model(), &Open::default()).expect("the bench's model");
    Decoder::load(&checkpoint.config, &checkpoint.weights, DType::F32, &Device::Cpu).expect("the bench's model")
}

fn input(decoder: &Decoder) -> Input {
    let vocabulary = decoder.spec().vocabulary as u32;
    let n = decoder.spec().max_positions.min(512) as u32;
    Input::tokens(&(0..n).map(|i| (i * 37 + 5) % vocabulary).collect::<Vec<_>>()).expect("tokens")
}

fn passes(bench: &mut Criterion) {
    let decoder = load();
    let input = input(&decoder);
    let options = Options::default();
    let mut group = bench.benchmark_group("pass");
    group.sample_size(20);
    group.bench_function("plain", |b| b.iter(|| decoder.forward(&input, &options, &mut Unobserved).expect("a pass")));
    group.bench_function("without logits", |b| {
        let options = Options { logits: Logits::None, ..Options::default() };
        b.iter(|| decoder.forward(&input, &options, &mut Unobserved).expect("a pass"))
    });
    group.bench_function("post-mlp captured", |b| {
        b.iter(|| {
            let mut capture = Capture::new([Point::PostMlp], Layers::All);
            decoder.forward(&input, &options, &mut capture).expect("a pass");
            capture.stacked(Point::PostMlp, decoder.spec().layers).expect("a capture")
        })
    });
    group.bench_function("every point captured", |b| {
        let points = Point::ALL.into_iter().filter(|&point| {
            decoder.spec().has(point) && !matches!(point, Point::UnreducedLoss | Point::AttnHeadOutputs)
        });
        let points: Vec<Point> = points.collect();
        b.iter(|| {
            let mut capture = Capture::new(points.iter().copied(), Layers::All);
            decoder.forward(&input, &options, &mut capture).expect("a pass");
            capture
        })
    });
    group.finish();
}

/// Whole scripts: a pass plain, with one point logged, and with a function on most points.
fn scripted(bench: &mut Criterion) {
    let n = input(&load()).len();
    let prepare =
        format!("let m = model({:?}); let ids = (arange({n}) * 37 + 5).unsqueeze(0) % m.config.vocab_size;", model());
    let log = "let log = hook(\"post-mlp\", |x, ctx| { ctx[`${ctx.layer}`] = x; }); m.forward(ids, context([log]));";
    let through = "let hooks = []; for point in [\"pre-block\", \"pre-attn\", \"query-states\", \"key-states\", \
                   \"value-states\", \"attn-probs\", \"attn-weighted-values\", \"attn-residual\", \"post-attn\", \
                   \"pre-mlp\", \"post-fc1\", \"post-act\", \"mlp-residual\", \"post-mlp\", \"logits\"] \
                   { hooks.push(hook(point, |x, ctx| x)); } m.forward(ids, context(hooks));";
    let host = Host::new(Settings::default()).expect("a host");
    let mut group = bench.benchmark_group("script");
    group.sample_size(20);
    for (name, pass) in [("plain", "m.forward(ids);"), ("post-mlp logged", log), ("pass-through on 15 points", through)]
    {
        let script = format!("{prepare} {pass}");
        group.bench_function(name, |b| b.iter(|| host.eval(&script).expect("the bench's script")));
    }
    group.finish();
}

fn loading(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("load");
    group.sample_size(10);
    group.bench_function("checkpoint and decoder", |b| b.iter(load));
    if !Path::new(&model()).is_dir() {
        group.bench_function("tokenizer", |b| {
            b.iter(|| Checkpoint::open(&model(), &Open::default()).expect("a checkpoint").tokenizer().map(|_| ()))
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
        group.bench_function(format!("a log of {layers} layers"), |b| b.iter(|| host.eval(&script).expect("a script")));
    }
    group.finish();
}

criterion_group!(benches, passes, scripted, loading, log_writes);
criterion_main!(benches);
