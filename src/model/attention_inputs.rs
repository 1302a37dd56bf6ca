//! What the layers of one pass share: who may see whom, and where each token stands.

use candle_core::{DType, Device, Tensor};

use super::attention::Frame;
use super::input::Input;
use super::mask;
use super::rotary::Rotary;
use super::spec::{Positions, Spec, Window};
use crate::Result;

/// The frames of a pass: of layers that see everything, and of those with a window.
pub struct Frames {
    frames: Vec<Frame>,
    /// For each layer, which is its.
    of: Vec<usize>,
}

impl Frames {
    pub fn new(spec: &Spec, input: &Input, dtype: DType, device: &Device) -> Result<Self> {
        let (mut frames, mut of, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
        for layer in 0..spec.layers {
            let window = spec.window(layer);
            let known = kinds.iter().position(|kind| *kind == window.is_some());
            of.push(known.unwrap_or(kinds.len()));
            if known.is_none() {
                kinds.push(window.is_some());
                frames.push(frame(spec, window, input, dtype, device)?);
            }
        }
        Ok(Self { frames, of })
    }

    pub fn layer(&self, layer: usize) -> &Frame {
        &self.frames[self.of[layer]]
    }
}

fn frame(
    spec: &Spec,
    window: Option<&Window>,
    input: &Input,
    dtype: DType,
    device: &Device,
) -> Result<Frame> {
    let rotary = match window.and_then(|window| window.rotary.as_ref()).or(spec.rotary()) {
        Some(rotary) => {
            let positions = input.positions(device)?.to_dtype(DType::F32)?;
            Some(Rotary::new(rotary, &positions, input.longest(), dtype, device)?)
        }
        None => None,
    };
    let bias = match spec.positions {
        Positions::Alibi => Some(alibi(spec.heads, input, dtype, device)?),
        _ => None,
    };
    Ok(Frame {
        allowed: mask::allowed(input, window.map(|window| window.size), device)?,
        rotary,
        bias,
    })
}

/// What a key's position adds to a head's scores, [b, h, 1, m] (Press et al. 2022): slope ·
/// position.
fn alibi(heads: usize, input: &Input, dtype: DType, device: &Device) -> Result<Tensor> {
    let positions = input.attended_positions(device)?.to_dtype(DType::F32)?;
    let slopes = Tensor::new(slopes(heads), device)?.reshape((1, heads, 1, 1))?;
    let (b, m) = positions.dims2()?;
    Ok(positions.reshape((b, 1, 1, m))?.broadcast_mul(&slopes)?.to_dtype(dtype)?)
}

/// 2^(−8i/h) for head i of h, counted from 1; where h is no power of two, those of the power below
/// it, and between them every second one of the power above.
fn slopes(heads: usize) -> Vec<f32> {
    let power = |heads: usize, i: usize| 2f64.powf(-8.0 * i as f64 / heads as f64) as f32;
    let below = if heads.is_power_of_two() { heads } else { heads.next_power_of_two() / 2 };
    let first = (1..=below).map(|i| power(below, i));
    let rest = (0..heads - below).map(|i| power(2 * below, 2 * i + 1));
    first.chain(rest).collect()
}
