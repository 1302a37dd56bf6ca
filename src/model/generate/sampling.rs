//! Drawing the next token from logits: temperature, top-k, top-p, min-p and the repetition penalty,
//! in the order and with the meaning that they have in transformers
//! (`generation/logits_process.py`).

use std::collections::BTreeSet;

use candle_core::{D, DType, Tensor};
use rand::SeedableRng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;

use crate::kernel::softmax::softmax;
use crate::{Result, bail, error};

/// The settings by which the next token is drawn. With neither `temperature`, `top_k`, `top_p` nor
/// `min_p` the likeliest token is taken.
#[derive(Debug, Clone, Default)]
pub struct Sampling {
    /// The logits are divided by it. At 0 the likeliest token is taken; absent it is 1.
    pub temperature: Option<f64>,
    /// Keeps the k likeliest tokens. (transformers also keeps all that equal the k-th.)
    pub top_k: Option<usize>,
    /// Keeps the fewest tokens whose probabilities, of those that `top_k` left, sum to p or more
    /// (Holtzman et al. 2020).
    pub top_p: Option<f64>,
    /// Keeps the tokens whose probability is at least this share of the likeliest one's (Nguyen et
    /// al. 2024).
    pub min_p: Option<f64>,
    /// Divides the positive logits of tokens that the row contains already, and multiplies the
    /// negative ones (Keskar et al. 2019). It is applied before everything else.
    pub repetition_penalty: Option<f64>,
    /// Row r of a batch draws with the seed `seed` + r.
    pub seed: u64,
}

impl Sampling {
    /// Checks the settings.
    ///
    /// # Errors
    /// A setting is out of its range.
    pub fn check(&self) -> Result<()> {
        if let Some(t) = self.temperature.filter(|t| !t.is_finite() || *t < 0.0) {
            bail!("temperature must be a number of at least 0, not {t}");
        }
        if let Some(p) = self.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            bail!("top_p must be above 0 and at most 1, not {p}");
        }
        if let Some(p) = self.min_p.filter(|p| !(0.0..=1.0).contains(p)) {
            bail!("min_p must be a number from 0 to 1, not {p}");
        }
        if self.top_k == Some(0) {
            bail!("top_k must be at least 1");
        }
        if let Some(penalty) = self.repetition_penalty.filter(|p| !p.is_finite() || *p <= 0.0) {
            bail!("repetition_penalty must be above 0, not {penalty}");
        }
        Ok(())
    }

    /// The name of the first setting that makes the choice of a token random; `None` if the
    /// likeliest is taken.
    pub fn random_setting(&self) -> Option<&'static str> {
        let given = [
            ("temperature", self.temperature.is_some_and(|t| t != 0.0)),
            ("top_k", self.top_k.is_some()),
            ("top_p", self.top_p.is_some()),
            ("min_p", self.min_p.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }
}

/// Draws the tokens of one row.
pub struct Sampler {
    random: StdRng,
    sampling: Sampling,
}

impl Sampler {
    /// A sampler for row `row` of a batch.
    pub fn new(sampling: &Sampling, row: usize) -> Self {
        let seed = sampling.seed.wrapping_add(row as u64);
        Self { random: StdRng::seed_from_u64(seed), sampling: sampling.clone() }
    }

    /// Draws a token from logits \[v\] of any float dtype, which have the repetition penalty already:
    /// from softmax(logits / temperature) in float32, restricted to the tokens that the settings
    /// keep.
    ///
    /// # Errors
    /// The logits make no distribution (after division by a tiny temperature, for example), or
    /// candle fails.
    pub fn draw(&mut self, logits: &Tensor) -> Result<u32> {
        let Sampling { temperature, top_k, top_p, min_p, .. } = self.sampling;
        if temperature == Some(0.0) || self.sampling.random_setting().is_none() {
            return Ok(logits.argmax(D::Minus1)?.to_scalar()?);
        }
        let scaled = (logits.to_dtype(DType::F32)? / temperature.unwrap_or(1.0))?;
        let mut probabilities = softmax(&scaled)?.to_vec1::<f32>()?;
        restrict(&mut probabilities, top_k, top_p, min_p);
        let weighted = WeightedIndex::new(&probabilities)
            .map_err(|error| error!("no token can be drawn from these logits: {error}"))?;
        Ok(weighted.sample(&mut self.random) as u32)
    }
}

/// Applies the repetition penalty (see [`Sampling::repetition_penalty`]) to the logits \[v\] of the
/// tokens in `seen`, once for each different token. Gives float32.
///
/// # Errors
/// candle's.
pub fn penalize_repetition(logits: &Tensor, penalty: f64, seen: &[u32]) -> Result<Tensor> {
    let mut penalized = logits.to_dtype(DType::F32)?.to_vec1::<f32>()?;
    for &token in seen.iter().collect::<BTreeSet<_>>() {
        if let Some(logit) = penalized.get_mut(token as usize) {
            *logit = if *logit >= 0.0 { *logit / penalty as f32 } else { *logit * penalty as f32 };
        }
    }
    Ok(Tensor::from_vec(penalized, logits.shape(), logits.device())?)
}

/// Sets the probabilities of all tokens to 0 but those that the settings keep. `min_p` compares with
/// the likeliest token, which is always kept, so that it does not matter whether the probabilities
/// that `k` and `p` left are scaled to sum to 1.
fn restrict(probabilities: &mut [f32], k: Option<usize>, p: Option<f64>, min_p: Option<f64>) {
    let all = probabilities.len();
    // transformers, too, leaves everything at top_p = 1: sums are rounded.
    let (k, p) = (k.unwrap_or(all).min(all), p.filter(|p| *p < 1.0));
    if all == 0 || (k == all && p.is_none() && min_p.is_none()) {
        return;
    }
    let mut kept: Vec<(usize, f32)> = probabilities.iter().copied().enumerate().collect();
    let descending = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if k < all {
        kept.select_nth_unstable_by(k, descending);
        kept.truncate(k);
    }
    kept.sort_unstable_by(descending);
    let likeliest = f64::from(kept[0].1);
    if let Some(p) = p {
        let enough = p * kept.iter().map(|(_, probability)| f64::from(*probability)).sum::<f64>();
        let mut sum = 0.0;
        kept.retain(|(_, probability)| {
            let before = sum;
            sum += f64::from(*probability);
            before < enough
        });
    }
    if let Some(min_p) = min_p {
        kept.retain(|(_, probability)| f64::from(*probability) >= min_p * likeliest);
    }
    probabilities.fill(0.0);
    kept.into_iter().for_each(|(token, probability)| probabilities[token] = probability);
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use candle_transformers::generation::{LogitsProcessor, Sampling as Theirs};

    use super::*;

    #[test]
    fn a_seed_draws_what_candle_transformers_draws() {
        let logits = Tensor::new(&[0.3f32, 2.0, -1.0, 1.5, 0.9, -3.0], &Device::Cpu).unwrap();
        let (temperature, p, seed) = (0.7, 0.8, 5);
        for (top_p, theirs) in
            [(None, Theirs::All { temperature }), (Some(p), Theirs::TopP { p, temperature })]
        {
            let sampling =
                Sampling { temperature: Some(temperature), top_p, seed, ..Sampling::default() };
            let mut ours = Sampler::new(&sampling, 0);
            let mut theirs = LogitsProcessor::from_sampling(seed, theirs);
            for _ in 0..100 {
                assert_eq!(ours.draw(&logits).unwrap(), theirs.sample(&logits).unwrap());
            }
        }
    }

    #[test]
    fn the_settings_restrict_one_after_the_other() {
        let left = |k, p, min_p| {
            let mut probabilities = [0.1f32, 0.4, 0.05, 0.3, 0.15];
            restrict(&mut probabilities, k, p, min_p);
            (0..5).filter(|&at| probabilities[at] > 0.0).collect::<Vec<usize>>()
        };
        assert_eq!(left(None, None, None), [0, 1, 2, 3, 4]);
        assert_eq!(left(None, None, Some(0.25)), [0, 1, 3, 4]);
        assert_eq!(left(None, None, Some(0.5)), [1, 3]);
        assert_eq!(left(None, None, Some(1.0)), [1]);
        assert_eq!(left(Some(3), None, Some(0.1)), [1, 3, 4]);
        assert_eq!(left(None, Some(0.5), Some(0.1)), [1, 3]);
        assert_eq!(left(None, Some(1.0), None), [0, 1, 2, 3, 4]);
        // Of the 3 likeliest, which sum to 0.85, the first two are 0.82.
        assert_eq!(left(Some(3), Some(0.8), None), [1, 3]);
        assert_eq!(left(Some(1), Some(0.01), Some(1.0)), [1]);
    }
}
