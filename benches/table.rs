//! What passes cost beside the floor, the time of their matrix products alone: plain, captured,
//! hooked from scripts, in a large batch.
//!
//!     PRECOMPUTE_BENCH_MODEL=DIR cargo bench --bench table [-- [--json] [N…] [batch]]
//!
//! Medians of alternating repetitions, so that a machine's moods meet all rows alike.

use std::hint::black_box;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use gemm::Parallelism;
use precompute::checkpoint::{Checkpoint, OpenOptions};
use precompute::hook::{Capture, Layers, Point, Unobserved};
use precompute::model::spec::Spec;
use precompute::model::{Decoder, Input, Options};
use precompute::script::{Host, Settings};
use precompute::system::memory;
use precompute::system::memory::CountingAllocator;
use rayon::prelude::*;

const ROUNDS: usize = 7;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() {
    memory::delay_purge();
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let lengths: Vec<usize> =
        arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    if arguments.iter().any(|argument| argument == "batch") {
        return batch();
    }
    let lengths = if lengths.is_empty() { vec![32, 128, 512, 2048] } else { lengths };
    let bench = Bench::new();
    if !json {
        println!(
            "{}, float32, batch 1, all logits, {} threads\n",
            bench.id,
            rayon::current_num_threads()
        );
        println!("| tokens | pass | ms | beside |");
        println!("|---|---|---|---|");
    }
    for n in lengths.into_iter().map(|n| n.min(bench.decoder.spec().max_positions)) {
        let rows = bench.rows(n);
        for (at, (name, took, beside)) in rows.iter().enumerate() {
            let milliseconds = took.as_secs_f64() * 1e3;
            let ratio =
                beside.map(|(of, than)| (took.as_secs_f64() / rows[than].1.as_secs_f64(), of));
            match (json, ratio) {
                (true, _) => println!(
                    "{}",
                    serde_json::json!({"n": n, "at": at, "pass": name, "ms": milliseconds})
                ),
                (false, Some((ratio, of))) => {
                    println!("| {n} | {name} | {milliseconds:.1} | {ratio:.2} × {of} |")
                }
                (false, None) => println!("| {n} | {name} | {milliseconds:.1} | |"),
            }
        }
    }
}

struct Bench {
    id: String,
    decoder: Decoder,
    host: Host,
    keeping: Host,
}

/// A row's name, its median, and which row it stands beside, under what name.
type Row = (&'static str, Duration, Beside);
type Beside = Option<(&'static str, usize)>;
/// What a row times.
type Pass<'a> = (&'static str, Beside, Box<dyn FnMut() + 'a>);

impl Bench {
    /// The checkpoint in PRECOMPUTE_BENCH_MODEL, else the embedded demo.
    fn new() -> Self {
        let id = std::env::var("PRECOMPUTE_BENCH_MODEL").unwrap_or_else(|_| "demo:opt".into());
        let host = |reuse| Host::new(Settings { reuse, ..Settings::default() }).expect("a host");
        Self { decoder: load(&id), host: host(Some(0)), keeping: host(None), id }
    }

    fn rows(&self, n: usize) -> Vec<Row> {
        let spec = self.decoder.spec();
        let points = points(spec);
        let with_heads: Vec<Point> =
            points.iter().copied().chain([Point::AttnHeadOutputs]).collect();
        let floor = Floor::new(spec, 1, n, true);
        let mut round = 0;
        let mut passes: Vec<Pass<'_>> = vec![
            ("matrix products alone", None, Box::new(move || floor.run())),
            ("plain", Some(("floor", 0)), Box::new(|| self.plain(n))),
            (
                "every block's post-mlp captured",
                Some(("plain", 1)),
                Box::new(|| self.captured(n, &[Point::PostMlp])),
            ),
            (
                "every point captured, but for those of size d by head",
                Some(("plain", 1)),
                Box::new(|| self.captured(n, &points)),
            ),
            (
                "a pass-through hook on each of these",
                Some(("captured", 3)),
                Box::new(|| self.hooked(&self.host, n, 0, &points)),
            ),
            (
                "the same, kept for later passes",
                Some(("captured", 3)),
                Box::new(|| {
                    round += 1;
                    self.hooked(&self.keeping, n, round, &points);
                }),
            ),
            (
                "attn-head-outputs captured too",
                Some(("plain", 1)),
                Box::new(|| self.captured(n, &with_heads)),
            ),
            (
                "a pass-through hook on each of these",
                Some(("captured", 6)),
                Box::new(|| self.hooked(&self.host, n, 0, &with_heads)),
            ),
            (
                "gradients at every block's post-mlp",
                Some(("plain", 1)),
                Box::new(|| {
                    self.gradients(n, "out.logits[[0, -1, 5]] - out.logits[[0, -1, 9]]", "")
                }),
            ),
            (
                "gradients likewise, of a pass that makes the last token's logits alone",
                Some(("plain", 1)),
                Box::new(|| {
                    let metric = "out.logits[[0, -1, 5]] - out.logits[[0, -1, 9]]";
                    self.gradients(n, metric, ", #{logits: \"last\"}");
                }),
            ),
            (
                "gradients of the loss, likewise",
                Some(("plain", 1)),
                Box::new(|| self.gradients(n, "out.loss", ", #{loss: true}")),
            ),
        ];
        let mut took = vec![Vec::new(); passes.len()];
        for turn in 0..=ROUNDS {
            for (at, (_, _, pass)) in passes.iter_mut().enumerate() {
                let began = Instant::now();
                pass();
                // The first turn warms up.
                if turn > 0 {
                    took[at].push(began.elapsed());
                }
            }
        }
        passes
            .iter()
            .zip(took)
            .map(|((name, beside, _), took)| (*name, median(took), *beside))
            .collect()
    }

    fn plain(&self, n: usize) {
        black_box(self.decoder.forward(
            &input(self.decoder.spec(), 1, n),
            &Options::default(),
            &mut Unobserved,
        ))
        .expect("a pass");
    }

    fn captured(&self, n: usize, points: &[Point]) {
        let mut capture = Capture::new(points.iter().map(|point| (*point, Layers::All)));
        let output = self.decoder.forward(
            &input(self.decoder.spec(), 1, n),
            &Options::default(),
            &mut capture,
        );
        black_box((output.expect("a pass"), capture));
    }

    fn gradients(&self, n: usize, metric: &str, options: &str) {
        let script = format!(
            "let m = model({:?}); let ids = ((arange({n}) * 37 + 5) % m.config.vocab_size).unsqueeze(0); \
             m.gradients(ids, \"post-mlp\", |out| {metric}{options}).value;",
            self.id
        );
        let _ = black_box(self.host.eval(&script)).expect("the bench's script");
    }

    /// `round` makes the tokens others.
    fn hooked(&self, host: &Host, n: usize, round: usize, points: &[Point]) {
        let hooks = points
            .iter()
            .map(|point| format!("hook(\"{point}\", |x, ctx| x)"))
            .collect::<Vec<_>>()
            .join(", ");
        let script = format!(
            "let m = model({:?}); let ids = ((arange({n}) * 37 + {}) % m.config.vocab_size).unsqueeze(0); \
             m.forward(ids, context([{hooks}]));",
            self.id,
            5 + round
        );
        let _ = black_box(host.eval(&script)).expect("the bench's script");
    }
}

/// Every point that a plain pass of such a model reaches, but for those of size d by head.
fn points(spec: &Spec) -> Vec<Point> {
    let left_out = [
        Point::UnreducedLoss,
        Point::AttnHeadOutputs,
        Point::QueryInput,
        Point::KeyInput,
        Point::ValueInput,
    ];
    Point::ALL.into_iter().filter(|point| spec.has(*point) && !left_out.contains(point)).collect()
}

fn load(id: &str) -> Decoder {
    let checkpoint = Checkpoint::open(id, &OpenOptions::default()).expect("the bench's model");
    Decoder::load(&checkpoint.config, &checkpoint.weights, DType::F32, &Device::Cpu)
        .expect("the bench's model")
}

fn input(spec: &Spec, batch: usize, n: usize) -> Input {
    let row = |row: usize| {
        (0..n).map(|i| ((i * 37 + row * 11 + 5) % spec.vocabulary) as u32).collect::<Vec<_>>()
    };
    let ids: Vec<u32> = (0..batch).flat_map(row).collect();
    Input::new(&Tensor::from_vec(ids, (batch, n), &Device::Cpu).expect("tokens"), None)
        .expect("tokens")
}

fn median(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() / 2]
}

/// A pass's matrix products, one after the other, on buffers that are there already.
struct Floor {
    /// Rows, columns, depth, and how many such products stand side by side.
    products: Vec<[usize; 4]>,
    left: Vec<f32>,
    right: Vec<f32>,
    out: std::cell::RefCell<Vec<f32>>,
}

impl Floor {
    fn new(spec: &Spec, batch: usize, n: usize, logits: bool) -> Self {
        let (d, c, rows) = (spec.hidden, spec.head_dim, batch * n);
        let mut products = Vec::new();
        for _ in 0..spec.layers {
            let (q, kv) = (spec.heads * c, spec.kv_heads * c);
            products.extend([[rows, q, d, 1], [rows, kv, d, 1], [rows, kv, d, 1], [rows, d, q, 1]]);
            products.extend([[n, n, c, batch * spec.heads], [n, c, n, batch * spec.heads]]);
            let into = if spec.has(Point::PostUp) { 2 } else { 1 };
            products.extend(std::iter::repeat_n([rows, spec.feed_forward, d, 1], into));
            products.push([rows, d, spec.feed_forward, 1]);
        }
        if logits {
            products.push([rows, spec.vocabulary, d, 1]);
        }
        let most = |size: fn(&[usize; 4]) -> usize| products.iter().map(size).max().unwrap_or(0);
        let numbers = |count: usize| (0..count).map(|i| (i % 13) as f32 * 0.01).collect();
        Self {
            left: numbers(most(|[m, _, k, count]| m * k * count)),
            right: numbers(most(|[_, n, k, count]| n * k * count)),
            out: std::cell::RefCell::new(numbers(most(|[m, n, _, count]| m * n * count))),
            products,
        }
    }

    fn run(&self) {
        let (out, left, right) = (&mut *self.out.borrow_mut(), &self.left[..], &self.right[..]);
        for &[m, n, k, count] in &self.products {
            if count == 1 {
                product([m, n, k], &mut out[..m * n], left, right, Parallelism::Rayon(0));
                continue;
            }
            // Heads side by side: faster than each on all cores.
            out[..m * n * count].par_chunks_exact_mut(m * n).enumerate().for_each(|(head, out)| {
                product(
                    [m, n, k],
                    out,
                    &left[head * m * k..],
                    &right[head * n * k..],
                    Parallelism::None,
                );
            });
        }
        black_box(&out[0]);
    }
}

/// out [m, n] = left [m, k] · right [n, k]ᵀ
fn product(
    [m, n, k]: [usize; 3],
    out: &mut [f32],
    left: &[f32],
    right: &[f32],
    parallelism: Parallelism,
) {
    assert!(out.len() >= m * n && left.len() >= m * k && right.len() >= n * k);
    let (rows, depth) = (n as isize, k as isize);
    // SAFETY: the buffers are as large as the shapes.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            rows,
            false,
            left.as_ptr(),
            1,
            depth,
            right.as_ptr(),
            depth,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// The power-spectrum run of the ancestor: 8 × 2048 tokens, the embeddings and every block's output
/// logged, no logits.
fn batch() {
    let id = std::env::var("PRECOMPUTE_BENCH_MODEL").unwrap_or_else(|_| "demo:opt".into());
    let host = Host::new(Settings::default()).expect("a host");
    let n = {
        let decoder = load(&id);
        let n = decoder.spec().max_positions.min(2048);
        let floor = Floor::new(decoder.spec(), 8, n, false);
        floor.run();
        let began = Instant::now();
        floor.run();
        println!("matrix products alone: {:.2} s", began.elapsed().as_secs_f64());
        n
    };
    // What the floor took is given back, so that the peak from here on is the run's own.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let script = format!(
        "let m = model({id:?}); \
         let ids = (arange(8 * {n}) * 37 + 5).reshape([8, {n}]) % m.config.vocab_size; \
         let log = zeros([m.config.num_hidden_layers + 1, 8, {n}, m.config.hidden_size]); \
         let hooks = [hook(\"post-pos-embeddings\", |x, ctx| {{ ctx.log[0] = x; }}), \
                      hook(\"post-mlp\", |x, ctx| {{ ctx.log[ctx.layer + 1] = x; }})]; \
         let ctx = context(hooks); ctx.log = log; \
         m.forward(ids, ctx, #{{logits: \"none\"}}); ctx.log.shape[0]"
    );
    let _ = host.eval(&format!("model({id:?})")).expect("the bench's model");
    let began = Instant::now();
    let _ = host.eval(&script).expect("the bench's script");
    println!(
        "with the embeddings and every block's output logged: {:.2} s",
        began.elapsed().as_secs_f64()
    );
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or("unknown")
        .trim()
        .to_owned();
    println!("peak resident memory: {peak}");
}
