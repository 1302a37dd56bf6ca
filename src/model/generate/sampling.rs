//! How a token is drawn from logits.

use candle_core::Tensor;
use candle_transformers::generation::{LogitsProcessor, Sampling as Draw};

use crate::{Result, bail};

/// How a token is drawn from logits. With neither temperature, `top_k`, `top_p` nor `min_p` the likeliest is taken.
#[derive(Debug, Clone, Default)]
pub struct Sampling {
    /// What the logits are divided by; 1 where only the others are given, and at 0 the likeliest token is taken.
    pub temperature: Option<f64>,
    /// Only the likeliest k tokens.
    pub top_k: Option<usize>,
    /// Only the fewest tokens whose probabilities sum to p.
    pub top_p: Option<f64>,
    /// Only tokens whose probability is at least that part of the likeliest one's (Nguyen et al. 2024).
    pub min_p: Option<f64>,
    /// Logits of tokens that the row has already are divided by it where they are positive, else multiplied (Keskar et al.
    /// 2019).
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

    fn draw(&self) -> Draw {
        let temperature = match self.temperature {
            Some(0.0) => return Draw::ArgMax,
            None if self.drawing().is_none() => return Draw::ArgMax,
            temperature => temperature.unwrap_or(1.0),
        };
        match (self.min_p, self.top_k, self.top_p) {
            // All three cut the same distribution, one after the other.
            (Some(_), ..) | (None, None, None) => Draw::All { temperature },
            (None, Some(k), None) => Draw::TopK { k, temperature },
            (None, None, Some(p)) => Draw::TopP { p, temperature },
            (None, Some(k), Some(p)) => Draw::TopKThenTopP { k, p, temperature },
        }
    }
}

/// What draws the tokens of one row.
pub struct Drawing {
    processor: LogitsProcessor,
    sampling: Sampling,
}

impl Drawing {
    pub fn new(sampling: &Sampling, row: usize) -> Self {
        let seed = sampling.seed.wrapping_add(row as u64);
        Self { processor: LogitsProcessor::from_sampling(seed, sampling.draw()), sampling: sampling.clone() }
    }

    /// A token, from logits \[v\].
    ///
    /// # Errors
    /// Those of candle.
    pub fn token(&mut self, logits: &Tensor) -> Result<u32> {
        let Sampling { top_k, top_p, min_p, .. } = self.sampling;
        Ok(match min_p {
            None => self.processor.sample(logits)?,
            Some(min_p) => self.processor.sample_f(logits, |probabilities| cut(probabilities, top_k, top_p, min_p))?,
        })
    }
}

/// Leaves the probabilities of the `k` likeliest tokens, of those the fewest that sum to `p`, and of those the ones that are at
/// least `min_p` of the likeliest one's; the rest becomes 0.
fn cut(probabilities: &mut [f32], k: Option<usize>, p: Option<f64>, min_p: f64) {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&i, &j| probabilities[j].total_cmp(&probabilities[i]));
    let likeliest = order.first().map_or(0.0, |&first| probabilities[first]);
    let among = order.len().min(k.unwrap_or(usize::MAX));
    let total: f64 = order[..among].iter().map(|&at| f64::from(probabilities[at])).sum();
    let mut sum = 0.0;
    let mut kept = 0;
    for &at in &order[..among] {
        if sum >= p.unwrap_or(f64::INFINITY) * total || f64::from(probabilities[at]) < min_p * f64::from(likeliest) {
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
