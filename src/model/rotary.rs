//! Rotary position embeddings (Su et al. 2021): pairs of a head's dimensions are rotated by an angle
//! proportional to the position.

use std::f64::consts::TAU;

use candle_core::{D, DType, Device, Tensor};

use super::spec::{Pairs, RotaryScaling, RotarySpec};
use crate::kernel::elementwise;
use crate::kernel::elementwise::Binary;
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
        let angles = Binary::Mul.apply(&positions.reshape((b, 1, n, 1))?, &frequencies)?;
        let scaled =
            |x: Tensor| -> Result<Tensor> { Ok((x * spec.attention_factor())?.to_dtype(dtype)?) };
        let cos = elementwise::cos(&angles).unwrap_or_else(|| angles.cos())?;
        let sin = elementwise::sin(&angles).unwrap_or_else(|| angles.sin())?;
        Ok(Self { cos: scaled(cos)?, sin: scaled(sin)?, pairs: spec.pairs })
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
        let over = self.over as f64;
        let theta = match self.scaling {
            // The base grows with the text, beyond the pretraining's length.
            Some(RotaryScaling::Dynamic { factor, max_positions }) => {
                let most = max_positions as f64;
                let stretch = factor * (longest as f64).max(most) / most - (factor - 1.0);
                self.theta * stretch.powf(over / (over - 2.0))
            }
            _ => self.theta,
        };
        (0..self.dims / 2)
            .map(|i| {
                let frequency = 1.0 / theta.powf(2.0 * i as f64 / over);
                self.scaling.as_ref().map_or(frequency, |it| it.apply(self, i, frequency, longest))
                    as f32
            })
            .collect()
    }

    /// The factor on cosines and sines.
    fn attention_factor(&self) -> f64 {
        match self.scaling {
            Some(
                RotaryScaling::LongRope { attention_factor, .. }
                | RotaryScaling::Yarn { attention_factor, .. },
            ) => attention_factor,
            _ => 1.0,
        }
    }

    /// Whether frequencies differ between texts of `before` tokens and of `after`, so that keys in a
    /// cache have to be computed again.
    pub fn changes_between(&self, before: usize, after: usize) -> bool {
        match self.scaling {
            Some(RotaryScaling::LongRope { original_max_positions: most, .. }) => {
                before <= most && after > most
            }
            Some(RotaryScaling::Dynamic { max_positions: most, .. }) => {
                before.max(most) != after.max(most)
            }
            _ => false,
        }
    }
}

impl RotaryScaling {
    /// Frequency i, as changed in transformers' `modeling_rope_utils.py`, for a text of `longest`
    /// tokens.
    fn apply(&self, spec: &RotarySpec, i: usize, frequency: f64, longest: usize) -> f64 {
        match self {
            RotaryScaling::Linear { factor } => frequency / factor,
            // It changes the base.
            RotaryScaling::Dynamic { .. } => frequency,
            RotaryScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_positions,
            } => {
                // Short waves stay, long ones are divided by the factor, and those between are
                // interpolated.
                let wave = TAU / frequency;
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
            RotaryScaling::Yarn {
                factor,
                beta_fast,
                beta_slow,
                truncate,
                original_max_positions,
                ..
            } => {
                let round = |at: f64, whole: fn(f64) -> f64| if *truncate { whole(at) } else { at };
                let turns = |turns| yarn::place(turns, spec, *original_max_positions);
                let first = round(turns(*beta_fast), f64::floor).max(0.0);
                let last = round(turns(*beta_slow), f64::ceil).min((spec.dims - 1) as f64);
                let last = if first == last { last + 0.001 } else { last };
                let divided = ((i as f64 - first) / (last - first)).clamp(0.0, 1.0);
                frequency / factor * divided + frequency * (1.0 - divided)
            }
        }
    }
}

/// YaRN (Peng et al. 2023), as in transformers' `_compute_yarn_parameters`.
pub mod yarn {
    use std::f64::consts::TAU;

    use super::RotarySpec;

    /// The factor on cosines and sines for texts that are `scale` times as long.
    pub fn mscale(scale: f64, mscale: f64) -> f64 {
        if scale <= 1.0 { 1.0 } else { 0.1 * mscale * scale.ln() + 1.0 }
    }

    /// The place among the frequencies of one that turns `turns` times within the pretraining's length.
    pub(super) fn place(turns: f64, spec: &RotarySpec, original: f64) -> f64 {
        spec.over as f64 * (original / (turns * TAU)).ln() / (2.0 * spec.theta.ln())
    }
}
