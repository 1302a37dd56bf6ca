//! Trains the demo models that are embedded in the binary, with the decoder that runs experiments.
//!
//!     cargo run --release --example train_demo -- opt [OUT] [--steps N] [--seed N]
//!
//! Writes a checkpoint in the Hub's layout (config.json, tokenizer.json, model.safetensors in
//! float16) and the loss curve to OUT, and prints the held-out accuracy of each task. Training
//! state is saved every 250 steps, and a later run continues from it.

mod text;
mod world;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Tensor, Var};
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};
use clap::Parser;
use precompute::hook::Unobserved;
use precompute::model::{Decoder, Input, Options};
use precompute::output::picture::{LinePlot, Picture, Series};
use precompute::{Result, error};
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use text::{Row, Text};
use world::{Task, World};

const LAYERS: usize = 4;
const HIDDEN: usize = 128;
const HEADS: usize = 4;
/// Tokens per row of a batch.
const LENGTH: usize = 64;
/// Rows per batch.
const BATCH: usize = 32;
const POSITIONS: usize = 96;

#[derive(Parser)]
struct Arguments {
    /// opt or gpt-neox
    family: String,
    /// Where to write the checkpoint [default: src/checkpoint/demo/FAMILY]
    out: Option<PathBuf>,
    #[arg(long, default_value_t = 3000)]
    steps: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> std::process::ExitCode {
    // Each of our threads computes a part of the batch; candle's own threads would only compete.
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        // SAFETY: no other thread runs yet that could read the environment at the same time.
        unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    }
    match train(&Arguments::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn train(arguments: &Arguments) -> Result<()> {
    let device =
        if candle_core::utils::cuda_is_available() { Device::new_cuda(0)? } else { Device::Cpu };
    let out = arguments.out.clone().unwrap_or_else(|| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/checkpoint/demo").join(&arguments.family)
    });
    let io = |e: std::io::Error| error!("{}: {e}", out.display());
    std::fs::create_dir_all(&out).map_err(io)?;
    let text = Text::train(&arguments.family, arguments.seed)?;
    text.save(&out.join("tokenizer.json"))?;
    let config = config(&arguments.family, text.vocabulary())?;
    let pretty = serde_json::to_string_pretty(&config).map_err(|e| error!("config.json: {e}"))?;
    std::fs::write(out.join("config.json"), pretty).map_err(io)?;

    let mut state = State::begin_or_resume(&config, arguments.seed, &out, &device)?;
    let mut optimizer = AdamW::new(
        state.weights.values().cloned().collect(),
        ParamsAdamW { weight_decay: 0.01, beta2: 0.98, ..ParamsAdamW::default() },
    )?;
    // A resumed run gets other text than the steps before it.
    let mut world = World::new(arguments.seed.wrapping_mul(1000) + state.step as u64);
    let progress =
        indicatif::ProgressBar::new(arguments.steps as u64).with_position(state.step as u64);
    progress.set_style(
        indicatif::ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} left {eta} {msg}")
            .map_err(|e| error!("{e}"))?,
    );
    while state.step < arguments.steps {
        let rows = (0..BATCH).map(|_| text.row(&mut world, LENGTH)).collect::<Result<Vec<_>>>()?;
        let (loss, gradients) = state.gradients(&config, &rows, &device)?;
        optimizer.set_learning_rate(learning_rate(state.step, arguments.steps));
        optimizer.step(&gradients)?;
        state.losses.push(loss);
        state.step += 1;
        progress.inc(1);
        progress.set_message(format!("loss {:.3}", state.recent_loss()));
        if state.step % 250 == 0 || state.step == arguments.steps {
            state.save(&out)?;
            let decoder = state.decoder(&config, &device)?;
            let line = format!(
                "step {}: loss {:.4}, {}",
                state.step,
                state.recent_loss(),
                accuracy(&decoder, &text)?
            );
            if progress.is_hidden() { println!("{line}") } else { progress.println(line) }
        }
    }
    progress.finish();
    state.draw_losses(&out)?;
    state.release(&out)
}

/// Linear warm-up over 200 steps, then a cosine decay to a twentieth of the peak.
fn learning_rate(step: usize, steps: usize) -> f64 {
    const PEAK: f64 = 2e-3;
    let warm = ((step + 1) as f64 / 200.0).min(1.0);
    let done = step as f64 / steps as f64;
    PEAK * warm * (0.05 + 0.95 * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()))
}

fn config(family: &str, vocabulary: usize) -> Result<Map<String, Value>> {
    let config = match family {
        "opt" => json!({
            "model_type": "opt", "architectures": ["OPTForCausalLM"], "vocab_size": vocabulary,
            "hidden_size": HIDDEN, "word_embed_proj_dim": HIDDEN, "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS, "ffn_dim": 4 * HIDDEN, "max_position_embeddings": POSITIONS,
            "activation_function": "relu", "do_layer_norm_before": true, "tie_word_embeddings": true,
            "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1, "torch_dtype": "float16",
        }),
        "gpt-neox" => json!({
            "model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], "vocab_size": vocabulary,
            "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
            "intermediate_size": 4 * HIDDEN, "max_position_embeddings": POSITIONS, "hidden_act": "gelu",
            "rotary_pct": 0.5, "rotary_emb_base": 10000, "use_parallel_residual": true,
            "layer_norm_eps": 1e-5, "tie_word_embeddings": false, "bos_token_id": 0, "eos_token_id": 0,
            "torch_dtype": "float16",
        }),
        other => {
            return Err(error!("there is no demo of the family {other:?}").help("opt or gpt-neox"));
        }
    };
    match config {
        Value::Object(map) => Ok(map),
        _ => Err(error!("a config is a map")),
    }
}

/// The state of training.
struct State {
    weights: HashMap<String, Var>,
    /// The loss of each step so far, in nats.
    losses: Vec<f32>,
    step: usize,
}

impl State {
    /// The state saved in `out`, or random weights.
    fn begin_or_resume(
        config: &Map<String, Value>,
        seed: u64,
        out: &Path,
        device: &Device,
    ) -> Result<Self> {
        let saved = out.join("training.safetensors");
        if saved.exists() {
            let mut tensors = candle_core::safetensors::load(&saved, device)?;
            let losses = tensors
                .remove("losses")
                .ok_or_else(|| error!("{} has no losses", saved.display()))?;
            let losses = losses.to_vec1::<f32>()?;
            let weights = tensors.into_iter().map(|(name, t)| Ok((name, Var::from_tensor(&t)?)));
            return Ok(Self {
                weights: weights.collect::<Result<_>>()?,
                step: losses.len(),
                losses,
            });
        }
        let mut weights = HashMap::new();
        let mut rng: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(seed);
        for (name, shape) in shapes(config) {
            let tensor = initial(&name, &shape, &mut rng, device)?;
            weights.insert(name, Var::from_tensor(&tensor)?);
        }
        Ok(Self { weights, losses: Vec::new(), step: 0 })
    }

    fn tensors(&self) -> HashMap<String, Tensor> {
        self.weights.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect()
    }

    /// A decoder with the current weights. Its tensors are views of them, so that gradients reach
    /// them.
    fn decoder(&self, config: &Map<String, Value>, device: &Device) -> Result<Decoder> {
        Decoder::load(config, &self.tensors(), DType::F32, device)
    }

    /// The weighted mean of the rows' next-token losses, and its gradients. The rows are divided
    /// among threads, as candle's backward pass is serial but for its matrix products.
    fn gradients(
        &self,
        config: &Map<String, Value>,
        rows: &[Row],
        device: &Device,
    ) -> Result<(f32, GradStore)> {
        let decoder = self.decoder(config, device)?;
        let total: f32 = rows.iter().flat_map(|row| &row.weights[1..]).sum();
        let share = rows.len().div_ceil(rayon::current_num_threads());
        let parts = rows.par_chunks(share).map(|rows| {
            let loss = (sum_of_losses(&decoder, rows, device)? / f64::from(total))?;
            Ok((loss.to_scalar::<f32>()?, loss.backward()?))
        });
        let mut parts = parts.collect::<Result<Vec<_>>>()?.into_iter();
        let (mut loss, mut gradients) = parts.next().ok_or_else(|| error!("a batch has rows"))?;
        for (more, other) in parts {
            loss += more;
            for var in self.weights.values() {
                if let (Some(a), Some(b)) = (gradients.get(var), other.get(var)) {
                    let sum = (a + b)?;
                    gradients.insert(var, sum);
                }
            }
        }
        Ok((loss, gradients))
    }

    /// The mean loss of the last 100 steps.
    fn recent_loss(&self) -> f32 {
        let recent = &self.losses[self.losses.len().saturating_sub(100)..];
        recent.iter().sum::<f32>() / recent.len().max(1) as f32
    }

    /// Saves the state, from which a later run continues.
    fn save(&self, out: &Path) -> Result<()> {
        let mut tensors = self.tensors();
        tensors.insert("losses".into(), Tensor::new(self.losses.as_slice(), &Device::Cpu)?);
        save(&tensors, &out.join("training.safetensors"))
    }

    /// Draws the loss curve, each point the mean of twenty steps.
    fn draw_losses(&self, out: &Path) -> Result<()> {
        const STEPS: usize = 20;
        let means =
            self.losses.chunks(STEPS).map(|part| part.iter().sum::<f32>() / part.len() as f32);
        let y: Vec<f64> = means.map(f64::from).collect();
        let plot = LinePlot {
            title: "Training loss".into(),
            xlabel: "step".into(),
            ylabel: "nats".into(),
            x: (0..y.len()).map(|i| (i * STEPS) as f64).collect(),
            series: vec![Series { label: String::new(), y }],
            ..LinePlot::default()
        };
        let path = out.join("loss.svg");
        std::fs::write(&path, Picture::Line(plot).svg()?)
            .map_err(|e| error!("{}: {e}", path.display()))
    }

    /// Writes the weights that ship, in float16.
    fn release(&self, out: &Path) -> Result<()> {
        let halves =
            self.tensors().into_iter().map(|(name, t)| Ok((name, t.to_dtype(DType::F16)?)));
        save(&halves.collect::<Result<_>>()?, &out.join("model.safetensors"))
    }
}

/// The weighted sum of the rows' next-token losses.
fn sum_of_losses(decoder: &Decoder, rows: &[Row], device: &Device) -> Result<Tensor> {
    let ids: Vec<Vec<u32>> = rows.iter().map(|row| row.ids.clone()).collect();
    let weights: Vec<Vec<f32>> = rows.iter().map(|row| row.weights[1..].to_vec()).collect();
    let input = Input::new(&Tensor::new(ids, &Device::Cpu)?, None)?;
    let output =
        decoder.forward(&input, &Options { loss: true, ..Options::default() }, &mut Unobserved)?;
    let losses = output.unreduced_loss.ok_or_else(|| error!("the pass gave no loss"))?;
    Ok((losses * Tensor::new(weights, device)?)?.sum_all()?)
}

/// Saves tensors to `path`, which is replaced when the file is complete.
fn save(tensors: &HashMap<String, Tensor>, path: &Path) -> Result<()> {
    let half = path.with_extension("part");
    candle_core::safetensors::save(tensors, &half)?;
    std::fs::rename(&half, path).map_err(|e| error!("{}: {e}", path.display()))
}

/// The name and shape of every weight, in a fixed order.
fn shapes(config: &Map<String, Value>) -> Vec<(String, Vec<usize>)> {
    let vocabulary = config["vocab_size"].as_u64().unwrap_or_default() as usize;
    let (d, f) = (HIDDEN, 4 * HIDDEN);
    let mut shapes = Vec::new();
    let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
    let opt = config["model_type"] == "opt";
    let prefix = if opt { "model.decoder" } else { "gpt_neox" };
    let block: &[(&str, &[usize])] = if opt {
        &[
            ("self_attn_layer_norm", &[d]),
            ("self_attn.q_proj", &[d, d]),
            ("self_attn.k_proj", &[d, d]),
            ("self_attn.v_proj", &[d, d]),
            ("self_attn.out_proj", &[d, d]),
            ("final_layer_norm", &[d]),
            ("fc1", &[f, d]),
            ("fc2", &[d, f]),
        ]
    } else {
        &[
            ("input_layernorm", &[d]),
            ("attention.query_key_value", &[3 * d, d]),
            ("attention.dense", &[d, d]),
            ("post_attention_layernorm", &[d]),
            ("mlp.dense_h_to_4h", &[f, d]),
            ("mlp.dense_4h_to_h", &[d, f]),
        ]
    };
    for layer in 0..LAYERS {
        for (name, shape) in block {
            add(format!("{prefix}.layers.{layer}.{name}.weight"), shape);
            add(format!("{prefix}.layers.{layer}.{name}.bias"), &shape[..1]);
        }
    }
    add(format!("{prefix}.final_layer_norm.weight"), &[d]);
    add(format!("{prefix}.final_layer_norm.bias"), &[d]);
    if opt {
        add(format!("{prefix}.embed_tokens.weight"), &[vocabulary, d]);
        add(format!("{prefix}.embed_positions.weight"), &[POSITIONS + 2, d]);
    } else {
        add(format!("{prefix}.embed_in.weight"), &[vocabulary, d]);
        add("embed_out.weight".into(), &[vocabulary, d]);
    }
    shapes
}

/// A weight's initial value: 1 for gains, 0 for biases, normal for matrices. Matrices that write
/// into the residual stream start smaller, as in GPT-2.
fn initial(
    name: &str,
    shape: &[usize],
    rng: &mut rand::rngs::StdRng,
    device: &Device,
) -> Result<Tensor> {
    if name.ends_with(".bias") {
        return Ok(Tensor::zeros(shape, DType::F32, device)?);
    }
    if shape.len() == 1 {
        return Ok(Tensor::ones(shape, DType::F32, device)?);
    }
    let writes =
        ["out_proj", "fc2", "dense.weight", "4h_to_h"].iter().any(|part| name.contains(part));
    let scale = if writes { 0.05 / (2.0 * LAYERS as f32).sqrt() } else { 0.05 };
    let normal = |rng: &mut rand::rngs::StdRng| -> f32 {
        let (u, v): (f32, f32) = (rand::Rng::random(rng), rand::Rng::random(rng));
        (-2.0 * (1.0 - u).ln()).sqrt() * (std::f32::consts::TAU * v).cos()
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| normal(rng) * scale).collect();
    Ok(Tensor::from_vec(values, shape, device)?)
}

/// The percentage of held-out questions whose most likely next token is the answer, for each task.
fn accuracy(decoder: &Decoder, text: &Text) -> Result<String> {
    let mut world = World::new(0xe7a1);
    let mut parts = Vec::new();
    for task in Task::ALL {
        let mut right = 0;
        for _ in 0..100 {
            let question = text.question(&mut world, task)?;
            let logits = decoder.logits(&Input::tokens(&question.ids)?)?;
            let best =
                logits.narrow(1, question.ids.len() - 1, 1)?.argmax(D::Minus1)?.flatten_all()?;
            right += usize::from(best.to_vec1::<u32>()? == [question.answer]);
        }
        parts.push(format!("{} {right} %", task.name()));
    }
    let (mut right, mut total) = (0, 0);
    for _ in 0..20 {
        let (ids, start) = text.induction(&mut world, 25);
        let best = decoder
            .logits(&Input::tokens(&ids)?)?
            .argmax(D::Minus1)?
            .flatten_all()?
            .to_vec1::<u32>()?;
        right += (start..ids.len() - 1).filter(|&i| best[i] == ids[i + 1]).count();
        total += ids.len() - 1 - start;
    }
    parts.push(format!("induction {:.1} %", 100.0 * right as f32 / total as f32));
    Ok(parts.join(", "))
}
