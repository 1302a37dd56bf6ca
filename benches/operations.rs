//! What the operations of scripts cost that are used most, one JSON line each;
//! `benches/operations/compare.py` sets PyTorch beside them.
//!
//!     cargo bench --bench operations [-- NAME]

use std::time::{Duration, Instant};

use precompute::script::{Host, Settings};
use precompute::system::memory;
use precompute::system::memory::CountingAllocator;

const TABLE: &str = include_str!("operations/table.tsv");

const SETUP: &str = "
    seed(1);
    let x = randn([2048, 768]); let y = randn([2048, 768]); let s = randn([12, 512, 512]);
    let w = randn([768, 768]); let tall = randn([3072, 768]); let row = randn([768]); let column = randn([2048, 1]);
    let ids = (arange(2048) * 37) % 2048; let mask = y > 0.0; let classes = (arange(2048) * 37) % 768;
    let picks = ((arange(2048 * 768) * 37) % 2048).reshape([2048, 768]); let symmetric = w + w.transpose(0, 1);
";

/// As the program has it.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() {
    memory::delay_purge();
    let only = std::env::args().skip(1).find(|argument| argument != "--bench");
    let host = Host::new(Settings::default()).expect("a host");
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let [name, script, _] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        if only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let run = |times: usize| {
            let began = Instant::now();
            let script = format!(
                "{SETUP} let began = timestamp(); for i in 0..{times} {{ {script}; }} began.elapsed"
            );
            let inside = host.eval(&script).expect("an operation").as_float().expect("seconds");
            (Duration::from_secs_f64(inside) / times as u32, began.elapsed())
        };
        let once = run(2).0;
        let times = (Duration::from_millis(100).as_secs_f64() / once.as_secs_f64())
            .clamp(1.0, 2000.0) as usize;
        let mut took: Vec<Duration> = (0..5).map(|_| run(times).0).collect();
        took.sort_unstable();
        println!("{}", serde_json::json!({"name": name, "ms": took[2].as_secs_f64() * 1e3}));
    }
}
