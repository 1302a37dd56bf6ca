//! From a saved script to its result, with the model loaded: an edit in the last layer's hook, and
//! one in the first's.
//!
//!     cargo bench --bench reload [-- FILTER]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Result, Tensor};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use precompute::script::{Host, Settings};

/// The shape of facebook/opt-125m, as its config on the Hub has it.
const CONFIG: &str = include_str!("../tests/hub-configs/facebook--opt-125m.json");
const TOKENS: usize = 512;

/// A checkpoint of that shape with random weights.
fn write_checkpoint(directory: &Path) -> Result<()> {
    let (d, f, vocabulary, positions) = (768, 3072, 50272, 2050);
    let mut weights = HashMap::new();
    let mut add = |name: String, shape: &[usize], around: f32| -> Result<()> {
        let spread = if around == 0.0 { 0.02 } else { 0.0 };
        weights.insert(
            format!("model.decoder.{name}"),
            Tensor::randn(around, spread, shape, &Device::Cpu)?,
        );
        Ok(())
    };
    add("embed_tokens.weight".into(), &[vocabulary, d], 0.0)?;
    add("embed_positions.weight".into(), &[positions, d], 0.0)?;
    let norms = (0..12).flat_map(|layer| {
        ["self_attn_layer_norm", "final_layer_norm"].map(|norm| format!("layers.{layer}.{norm}"))
    });
    for norm in norms.chain(["final_layer_norm".to_owned()]) {
        add(format!("{norm}.weight"), &[d], 1.0)?;
        add(format!("{norm}.bias"), &[d], 0.0)?;
    }
    for layer in 0..12 {
        for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            add(format!("layers.{layer}.self_attn.{projection}.weight"), &[d, d], 0.0)?;
            add(format!("layers.{layer}.self_attn.{projection}.bias"), &[d], 0.0)?;
        }
        for (name, rows, columns) in [("fc1", f, d), ("fc2", d, f)] {
            add(format!("layers.{layer}.{name}.weight"), &[rows, columns], 0.0)?;
            add(format!("layers.{layer}.{name}.bias"), &[rows], 0.0)?;
        }
    }
    std::fs::write(directory.join("config.json"), CONFIG)?;
    candle_core::safetensors::save(&weights, directory.join("model.safetensors"))
}

/// A script whose hook in one layer scales by a number that no run had before.
fn script(model: &str, layer: i64, edit: usize) -> String {
    let by = |of: i64| if of == layer { 1.0 + edit as f64 * 1e-6 } else { 1.0 };
    format!(
        "let m = model({model:?});\n\
         let n = if m.config.max_position_embeddings < {TOKENS} {{ m.config.max_position_embeddings }} else {{ {TOKENS} }};\n\
         let ids = ((arange(n) * 37 + 5) % m.config.vocab_size).unsqueeze(0);\n\
         let first = hook(\"post-mlp\", |x, ctx| x * {:?}, #{{layers: 0}});\n\
         let last = hook(\"post-mlp\", |x, ctx| x * {:?}, #{{layers: -1}});\n\
         m.forward(ids, context([first, last]), #{{logits: \"last\"}});\n",
        by(0),
        by(-1)
    )
}

fn reload(bench: &mut Criterion) {
    let home = tempfile::tempdir().expect("a directory");
    let checkpoint = home.path().join("opt-125m");
    std::fs::create_dir(&checkpoint).expect("a directory");
    write_checkpoint(&checkpoint).expect("a checkpoint");
    let file: PathBuf = home.path().join("experiment.rhai");
    let mut group = bench.benchmark_group("from save to result");
    group.sample_size(10);
    let mut edit = 0;
    for (name, model) in
        [("demo:opt", "demo:opt".to_owned()), ("opt-125m", checkpoint.display().to_string())]
    {
        for (reuse, memory) in [("", None), (", all fresh", Some(0))] {
            let settings = Settings {
                reuse: memory,
                out: Some(home.path().join("out")),
                ..Settings::default()
            };
            let host = Host::new(settings).expect("a host");
            let mut run = |layer: i64| {
                edit += 1;
                std::fs::write(&file, script(&model, layer, edit)).expect("the script");
                let _ = host.run_file(&file).expect("the script");
            };
            // Loads the model.
            run(0);
            for (place, layer) in [("last", -1), ("first", 0)] {
                let id = BenchmarkId::new(
                    format!("{name}{reuse}"),
                    format!("edit in the {place} layer"),
                );
                group.bench_function(id, |b| b.iter(|| run(layer)));
            }
        }
    }
    group.finish();
}

criterion_group!(benches, reload);
criterion_main!(benches);
