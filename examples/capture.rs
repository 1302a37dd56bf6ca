//! Prints the norm of the residual stream after every block. Shows how to capture tensors inside a
//! forward pass.
//!
//!     cargo run --example capture -- "When Mary and John went to the store"

use precompute::checkpoint::{Checkpoint, OpenOptions};
use precompute::hook::{Capture, Layers, Point};
use precompute::model::{Decoder, Input, Logits, Options};

fn main() -> precompute::Result<()> {
    let prompt =
        std::env::args().nth(1).unwrap_or_else(|| "When Mary and John went to the store".into());
    let checkpoint = Checkpoint::open("demo:opt", &OpenOptions::default())?;
    let model = Decoder::load(
        &checkpoint.config,
        &checkpoint.weights,
        candle_core::DType::F32,
        &candle_core::Device::Cpu,
    )?;
    let tokens = checkpoint.tokenizer()?.encode(&prompt, true)?;

    let mut capture = Capture::new([(Point::PostMlp, Layers::All)]);
    model.forward(
        &Input::tokens(&tokens)?,
        &Options { logits: Logits::None, ..Options::default() },
        &mut capture,
    )?;

    let stream = capture.stacked(Point::PostMlp, &Layers::All)?; // [l, b, n, d]
    let norms = stream.sqr()?.sum(3)?.sqrt()?.mean((1, 2))?.to_vec1::<f32>()?;
    for (layer, norm) in norms.iter().enumerate() {
        println!("after block {layer}: {norm:.3}");
    }
    Ok(())
}
