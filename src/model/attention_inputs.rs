//! What attention reads besides the residual stream: the mask and the tokens' positions. It is
//! computed once a pass, for all layers.

use candle_core::{DType, Device, Tensor};

use super::input::Input;
use super::mask;
use super::rotary::Rotary;
use super::spec::{AlibiSpec, Positions, Spec};
use crate::Result;
use crate::kernel::elementwise::Binary;

/// The inputs of one layer's attention.
#[derive(Debug, Clone)]
pub struct LayerInputs {
    /// [b or 1, 1, n, m], u8: 1 where the query may attend to the key.
    pub allowed: Tensor,
    /// The rotation of queries and keys.
    pub rotary: Option<Rotary>,
    /// Whether queries and keys have points before the rotation: some layer of the model has one.
    pub rotates: bool,
    /// ALiBi's term, which is added to the scores, [b, h, 1, m].
    pub bias: Option<Tensor>,
}

/// The inputs of every layer's attention.
pub struct AttentionInputs {
    /// Layers with a sliding window share theirs, and so do those without; likewise those that are
    /// rotated and those that are not.
    kinds: Vec<LayerInputs>,
    /// For each layer, the index of its inputs in `kinds`.
    kind_of_layer: Vec<usize>,
}

impl AttentionInputs {
    /// The inputs for a pass over `input`, in `dtype` on `device`.
    ///
    /// # Errors
    /// Those of [`mask::allowed`] and candle's.
    pub fn new(spec: &Spec, input: &Input, dtype: DType, device: &Device) -> Result<Self> {
        let (mut kinds, mut known) = (Vec::new(), Vec::new());
        let mut kind_of_layer = Vec::with_capacity(spec.layers);
        for layer in 0..spec.layers {
            let kind = (spec.window(layer).is_some(), spec.rotary_of(layer).is_some());
            let place = known.iter().position(|known| *known == kind);
            kind_of_layer.push(place.unwrap_or(kinds.len()));
            if place.is_none() {
                known.push(kind);
                kinds.push(layer_inputs(spec, layer, input, dtype, device)?);
            }
        }
        Ok(Self { kinds, kind_of_layer })
    }

    /// The inputs of layer `layer`.
    pub fn layer(&self, layer: usize) -> &LayerInputs {
        &self.kinds[self.kind_of_layer[layer]]
    }
}

fn layer_inputs(
    spec: &Spec,
    layer: usize,
    input: &Input,
    dtype: DType,
    device: &Device,
) -> Result<LayerInputs> {
    let rotary = match spec.rotary_of(layer) {
        Some(rotary) => {
            let positions = input.positions(device)?.to_dtype(DType::F32)?;
            Some(Rotary::new(rotary, &positions, input.longest(), dtype, device)?)
        }
        None => None,
    };
    let bias = match spec.positions {
        Positions::Alibi(alibi) => Some(alibi_term(alibi, spec.heads, input, dtype, device)?),
        _ => None,
    };
    let window = spec.window(layer).map(|window| window.size);
    let allowed = mask::allowed(input, window, spec.bidirectional, device)?;
    Ok(LayerInputs { allowed, rotary, rotates: spec.rotary().is_some(), bias })
}

/// ALiBi's term (Press et al. 2022), [b, h, 1, m]: the head's slope times the key's position, as in
/// transformers' `build_alibi_tensor`.
fn alibi_term(
    alibi: AlibiSpec,
    heads: usize,
    input: &Input,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let round = |x: Tensor| -> Result<Tensor> {
        Ok(match alibi.rounded {
            true => x.to_dtype(DType::BF16)?.to_dtype(DType::F32)?,
            false => x,
        })
    };
    let positions = round(input.attended_positions(device)?.to_dtype(DType::F32)?)?;
    let slopes = round(Tensor::new(slopes(heads), device)?.reshape((1, heads, 1, 1))?)?;
    let (b, m) = positions.dims2()?;
    let term = round(Binary::Mul.apply(&positions.reshape((b, 1, 1, m))?, &slopes)?)?;
    Ok((term * alibi.scale)?.to_dtype(dtype)?)
}

/// ALiBi's slopes \[h\]: 2^(−8i/h) for head i, from 1. If h is no power of two, they are the slopes
/// for the next lower power, then every second slope for the next higher one.
fn slopes(heads: usize) -> Vec<f32> {
    let power = |heads: usize, i: usize| 2f64.powf(-8.0 * i as f64 / heads as f64) as f32;
    let below = if heads.is_power_of_two() { heads } else { heads.next_power_of_two() / 2 };
    let first = (1..=below).map(|i| power(below, i));
    let rest = (0..heads - below).map(|i| power(2 * below, 2 * i + 1));
    first.chain(rest).collect()
}
