//! Rotary position embeddings (Su et al. 2021): pairs of a head's dimensions are rotated by an angle
//! proportional to the position.

use candle_core::{D, DType, Device, Tensor};

use super::spec::{Pairs, RotaryScaling, RotarySpec};
use crate::{Result, kernel};

/// The rotation of every token of a pass.
#[derive(Debug, Clone)]
pub struct Rotary {
    /// [b, 1, n, dims/2], in the model's dtype.
    cos: Tensor,
    /// As `cos`.
    sin: Tensor,
    pairs: Pairs,
}

impl Rotary {
    /// The rotations at `positions` [b, n], float32. `longest` is the number of tokens of the longest
    /// row, on which LongRoPE's frequencies depend.
    ///
    /// # Errors
    /// candle's.
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

    /// Rotates queries or keys, [b, h, n, c] to [b, h, n, c].
    ///
    /// # Errors
    /// candle's.
    pub fn turn(&self, x: &Tensor) -> Result<Tensor> {
        match self.cos.dim(D::Minus1)? {
            0 => Ok(x.clone()),
            _ => Ok(kernel::rotary::turn(x, &self.cos, &self.sin, self.pairs)?),
        }
    }
}

impl RotarySpec {
    /// The frequencies \[dims/2\], in radians a position, for a text of `longest` tokens.
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

    /// The factor on cosines and sines.
    fn attention_factor(&self) -> f64 {
        match self.scaling {
            Some(RotaryScaling::LongRope { attention_factor, .. }) => attention_factor,
            _ => 1.0,
        }
    }

    /// The number of tokens beyond which all frequencies change (LongRoPE), so that keys in a cache
    /// have to be computed again.
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
    /// Frequency i, as changed in transformers' `modeling_rope_utils.py`, for a text of `longest`
    /// tokens.
    fn apply(&self, i: usize, frequency: f64, longest: usize) -> f64 {
        match self {
            RotaryScaling::Linear { factor } => frequency / factor,
            RotaryScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_positions,
            } => {
                // Short waves stay, long ones are divided by the factor, and those between are
                // interpolated.
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
