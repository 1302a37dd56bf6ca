//! How a token is drawn from logits.

use std::collections::BTreeSet;

use candle_core::{D, DType, Tensor};
use rand::SeedableRng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;

use crate::kernel::softmax::softmax;
use crate::{Result, bail, error};

/// How a token is drawn from logits. With neither temperature, `top_k`, `top_p` nor `min_p` the
/// likeliest is taken.
#[derive(Debug, Clone, Default)]
pub struct Sampling {
    /// What the logits are divided by; 1 where only the others are given, and at 0 the likeliest
    /// token is taken.
    pub temperature: Option<f64>,
    /// Only the likeliest k tokens.
    pub top_k: Option<usize>,
    /// Only the fewest tokens whose probabilities sum to p.
    pub top_p: Option<f64>,
    /// Only tokens whose probability is at least that part of the likeliest one's (Nguyen et al.
    /// 2024).
    pub min_p: Option<f64>,
    /// Logits of tokens that the row has already are divided by it where they are positive, else
    /// multiplied (Keskar et al. 2019).
    pub repetition_penalty: Option<f64>,
    /// Row r of a batch draws with `seed` + r.
    pub seed: u64,
}

impl Sampling {
    /// # Errors
    /// A setting out of its range.
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

    /// The name of a setting that has tokens drawn by chance.
    pub fn drawing(&self) -> Option<&'static str> {
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
pub struct Drawing {
    random: StdRng,
    sampling: Sampling,
}

impl Drawing {
    pub fn new(sampling: &Sampling, row: usize) -> Self {
        let seed = sampling.seed.wrapping_add(row as u64);
        Self { random: StdRng::seed_from_u64(seed), sampling: sampling.clone() }
    }

    /// A token, from logits \[v\] of any float dtype: softmax(logits / temperature), cut to the
    /// likeliest tokens as the settings say, is the distribution that it is drawn from.
    ///
    /// # Errors
    /// Logits of which softmax makes no distribution, and errors of candle.
    pub fn token(&mut self, logits: &Tensor) -> Result<u32> {
        let Sampling { temperature, top_k, top_p, min_p, .. } = self.sampling;
        if temperature == Some(0.0) || self.sampling.drawing().is_none() {
            return Ok(logits.argmax(D::Minus1)?.to_scalar()?);
        }
        let scaled = (logits.to_dtype(DType::F32)? / temperature.unwrap_or(1.0))?;
        let mut probabilities = softmax(&scaled)?.to_vec1::<f32>()?;
        cut(&mut probabilities, top_k, top_p, min_p.unwrap_or(0.0));
        let drawn = WeightedIndex::new(&probabilities)
            .map_err(|error| error!("no token can be drawn from these logits: {error}"))?;
        Ok(drawn.sample(&mut self.random) as u32)
    }
}

/// Divides the logits \[v\] of the tokens in `seen` by `penalty` where they are positive, and
/// multiplies them by it where they are negative (Keskar et al. 2019). Each token counts once.
///
/// # Errors
/// Those of candle.
pub fn penalize_repetition(logits: &Tensor, penalty: f64, seen: &[u32]) -> Result<Tensor> {
    let mut penalized = logits.to_dtype(DType::F32)?.to_vec1::<f32>()?;
    for &token in seen.iter().collect::<BTreeSet<_>>() {
        if let Some(logit) = penalized.get_mut(token as usize) {
            *logit = if *logit >= 0.0 { *logit / penalty as f32 } else { *logit * penalty as f32 };
        }
    }
    Ok(Tensor::from_vec(penalized, logits.shape(), logits.device())?)
}

/// Leaves the probabilities of the `k` likeliest tokens, of those the fewest that sum to `p`, and
/// of those the ones that are at least `min_p` of the likeliest one's; the rest becomes 0.
fn cut(probabilities: &mut [f32], k: Option<usize>, p: Option<f64>, min_p: f64) {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&i, &j| probabilities[j].total_cmp(&probabilities[i]));
    let likeliest = order.first().map_or(0.0, |&first| probabilities[first]);
    let among = order.len().min(k.unwrap_or(usize::MAX));
    let total: f64 = order[..among].iter().map(|&at| f64::from(probabilities[at])).sum();
    let mut sum = 0.0;
    let mut kept = 0;
    for &at in &order[..among] {
        if sum >= p.unwrap_or(f64::INFINITY) * total
            || f64::from(probabilities[at]) < min_p * f64::from(likeliest)
        {
            break;
        }
        sum += f64::from(probabilities[at]);
        kept += 1;
    }
    // The likeliest stays, whatever is asked.
    order[kept.max(1).min(order.len())..].iter().for_each(|&at| probabilities[at] = 0.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_away() {
        let left = |k, p, min_p| {
            let mut probabilities = [0.1f32, 0.4, 0.05, 0.3, 0.15];
            cut(&mut probabilities, k, p, min_p);
            (0..5).filter(|&at| probabilities[at] > 0.0).collect::<Vec<usize>>()
        };
        assert_eq!(left(None, None, 0.0), [0, 1, 2, 3, 4]);
        assert_eq!(left(None, None, 0.25), [0, 1, 3, 4]);
        assert_eq!(left(None, None, 0.5), [1, 3]);
        assert_eq!(left(None, None, 1.0), [1]);
        assert_eq!(left(Some(3), None, 0.1), [1, 3, 4]);
        assert_eq!(left(None, Some(0.5), 0.1), [1, 3]);
        // Of the 3 likeliest, which sum to 0.85, the first two are 0.82.
        assert_eq!(left(Some(3), Some(0.8), 0.0), [1, 3]);
        assert_eq!(left(Some(1), Some(0.01), 1.0), [1]);
    }
}
