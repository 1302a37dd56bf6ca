//! Rotary position embeddings (Su et al. 2021): pairs of a head's dimensions turn by an angle that
//! grows with the position.

use candle_core::{D, DType, Device, Tensor};

use super::spec::{Pairs, RotaryScaling, RotarySpec};
use crate::{Result, kernel};

/// cos and sin of every position's angles, [b, 1, n, dims/2].
#[derive(Debug, Clone)]
pub struct Rotary {
    cos: Tensor,
    sin: Tensor,
    pairs: Pairs,
}

impl Rotary {
    /// `positions` is [b, n], float32; `longest` is how many positions the sequence has so far.
    pub fn new(
        spec: &RotarySpec,
        positions: &Tensor,
        longest: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let frequencies =
            Tensor::new(spec.inverse_frequencies(longest), device)?.reshape((1, 1, 1, ()))?;
        let (b, n) = positions.dims2()?;
        let angles = positions.reshape((b, 1, n, 1))?.broadcast_mul(&frequencies)?;
        let scaled =
            |x: Tensor| -> Result<Tensor> { Ok((x * spec.attention_factor())?.to_dtype(dtype)?) };
        Ok(Self { cos: scaled(angles.cos()?)?, sin: scaled(angles.sin()?)?, pairs: spec.pairs })
    }

    /// Turns queries or keys [b, h, n, c].
    pub fn turn(&self, x: &Tensor) -> Result<Tensor> {
        match self.cos.dim(D::Minus1)? {
            0 => Ok(x.clone()),
            _ => Ok(kernel::rotary::turn(x, &self.cos, &self.sin, self.pairs)?),
        }
    }
}

impl RotarySpec {
    /// Radians a position, [dims/2], for a sequence of `longest` positions.
    fn inverse_frequencies(&self, longest: usize) -> Vec<f32> {
        (0..self.dims / 2)
            .map(|i| {
                let frequency = 1.0 / self.theta.powf(2.0 * i as f64 / self.dims as f64);
                self.scaling
                    .as_ref()
                    .map_or(frequency, |scaling| scaling.apply(i, frequency, longest))
                    as f32
            })
            .collect()
    }

    fn attention_factor(&self) -> f64 {
        match self.scaling {
            Some(RotaryScaling::LongRope { attention_factor, .. }) => attention_factor,
            _ => 1.0,
        }
    }

    /// The length beyond which positions, those of keys in a cache included, turn at other
    /// frequencies.
    pub fn switches_after(&self) -> Option<usize> {
        match self.scaling {
            Some(RotaryScaling::LongRope { original_max_positions, .. }) => {
                Some(original_max_positions)
            }
            _ => None,
        }
    }
}

impl RotaryScaling {
    /// As in transformers' `modeling_rope_utils.py`.
    fn apply(&self, i: usize, frequency: f64, longest: usize) -> f64 {
        match self {
            RotaryScaling::Linear { factor } => frequency / factor,
            RotaryScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_positions,
            } => {
                // Long waves are slowed by the factor, short ones kept, those between mixed.
                let wave = std::f64::consts::TAU / frequency;
                if wave < original_max_positions / high_freq_factor {
                    return frequency;
                }
                if wave > original_max_positions / low_freq_factor {
                    return frequency / factor;
                }
                let smooth = (original_max_positions / wave - low_freq_factor)
                    / (high_freq_factor - low_freq_factor);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            }
            RotaryScaling::LongRope { short, long, original_max_positions, .. } => {
                let factors = if longest > *original_max_positions { long } else { short };
                frequency / factors[i]
            }
        }
    }
}
