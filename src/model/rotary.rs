//! Rotary position embeddings (Su et al. 2021), in the halves convention: of the first `dims` dimensions of a head, i turns
//! with i + dims/2.

use candle_core::{D, DType, Device, Tensor};

use super::spec::{Llama3Scaling, RotarySpec};
use crate::Result;

/// cos and sin of every position's angles, [b, 1, n, dims/2].
#[derive(Debug, Clone)]
pub struct Rotary {
    cos: Tensor,
    sin: Tensor,
    dims: usize,
}

impl Rotary {
    /// `positions` is [b, n], float32.
    pub fn new(spec: &RotarySpec, positions: &Tensor, dtype: DType, device: &Device) -> Result<Self> {
        let frequencies = inverse_frequencies(spec);
        let frequencies = Tensor::new(frequencies.as_slice(), device)?.reshape((1, 1, 1, ()))?;
        let (b, n) = positions.dims2()?;
        let angles = positions.reshape((b, 1, n, 1))?.broadcast_mul(&frequencies)?;
        Ok(Self { cos: angles.cos()?.to_dtype(dtype)?, sin: angles.sin()?.to_dtype(dtype)?, dims: spec.dims })
    }

    /// Turns queries or keys [b, h, n, c].
    pub fn turn(&self, x: &Tensor) -> Result<Tensor> {
        let c = x.dim(D::Minus1)?;
        if self.dims == 0 {
            return Ok(x.clone());
        }
        let half = self.dims / 2;
        let (first, second) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
        let turned_first = (first.broadcast_mul(&self.cos)? - second.broadcast_mul(&self.sin)?)?;
        let turned_second = (second.broadcast_mul(&self.cos)? + first.broadcast_mul(&self.sin)?)?;
        let mut parts = vec![turned_first, turned_second];
        if self.dims < c {
            parts.push(x.narrow(D::Minus1, self.dims, c - self.dims)?);
        }
        Ok(Tensor::cat(&parts, D::Minus1)?)
    }
}

fn inverse_frequencies(spec: &RotarySpec) -> Vec<f32> {
    (0..spec.dims / 2)
        .map(|i| {
            let frequency = 1.0 / spec.theta.powf(2.0 * i as f64 / spec.dims as f64);
            spec.scaling.as_ref().map_or(frequency, |scaling| scaling.apply(frequency)) as f32
        })
        .collect()
}

impl Llama3Scaling {
    /// Long waves are slowed by `factor`, short ones kept, those between mixed (transformers' `_compute_llama3_parameters`).
    fn apply(&self, frequency: f64) -> f64 {
        let wave = std::f64::consts::TAU / frequency;
        if wave < self.original_max_positions / self.high_freq_factor {
            return frequency;
        }
        if wave > self.original_max_positions / self.low_freq_factor {
            return frequency / self.factor;
        }
        let smooth = (self.original_max_positions / wave - self.low_freq_factor)
            / (self.high_freq_factor - self.low_freq_factor);
        (1.0 - smooth) * frequency / self.factor + smooth * frequency
    }
}
