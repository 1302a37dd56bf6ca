//! Ablates each attention head of a model: sets its values to zero and prints how the loss changes.
//! Shows how a hook changes a tensor inside a forward pass.
//!
//!     cargo run --example ablate

use candle_core::{D, DType, Device, Tensor};
use precompute::checkpoint::{Checkpoint, OpenOptions};
use precompute::hook::{Hooks, Layers};
use precompute::model::{Decoder, Input, Options};

fn main() -> precompute::Result<()> {
    let checkpoint = Checkpoint::open("demo:gpt-neox", &OpenOptions::default())?;
    let model = Decoder::load(&checkpoint.config, &checkpoint.weights, DType::F32, &Device::Cpu)?;
    let tokens = checkpoint
        .tokenizer()?
        .encode("When Mary and John went to the store, John gave a drink to Mary.", true)?;
    let input = Input::tokens(&tokens)?;
    let options = Options { loss: true, ..Options::default() };
    let loss = |hooks: &mut Hooks| -> precompute::Result<f32> {
        let output = model.forward(&input, &options, hooks)?;
        Ok(output.loss.map(|loss| loss.to_scalar::<f32>()).transpose()?.unwrap_or(f32::NAN))
    };

    let plain = loss(&mut Hooks::new())?;
    println!("loss {plain:.4}; with a head's values set to zero:");
    for layer in 0..model.spec().layers {
        for head in 0..model.spec().heads {
            let mut hooks = Hooks::new();
            hooks.bind("attn-weighted-values", Layers::one(layer as i64), |_site, z| {
                let keep = (0..z.dim(1)?).map(|h| if h == head { 0f32 } else { 1.0 });
                let keep = Tensor::from_iter(keep, z.device())?.reshape((1, (), 1, 1))?;
                Ok(Some(z.broadcast_mul(&keep)?))
            })?;
            println!("  layer {layer} head {head}: {:+.4}", loss(&mut hooks)? - plain);
        }
    }
    let logits = model.logits(&input)?;
    let last = logits
        .narrow(1, tokens.len() - 1, 1)?
        .argmax(D::Minus1)?
        .flatten_all()?
        .to_vec1::<u32>()?;
    println!("after the text comes {:?}", checkpoint.tokenizer()?.decode(&last)?);
    Ok(())
}
