//! The router: from a token to the shares of its experts.

use candle_core::{D, DType, Tensor};

use super::rows;
use crate::Result;
use crate::kernel::half_precision::widen;
use crate::kernel::softmax::softmax;
use crate::model::linear::{Change, Linear};
use crate::model::spec::{GroupScore, Groups, RouterSpec, Scores};

/// Scores of experts, and the shares that a [`RouterSpec`] makes of them.
#[derive(Debug, Clone)]
pub struct Router {
    /// d to x.
    pub scores: Linear,
    /// \[x\]: joins the scores by which experts are chosen (DeepSeek 3).
    pub correction: Option<Tensor>,
    /// How many are chosen for a token.
    pub chosen: usize,
    pub spec: RouterSpec,
}

impl Router {
    /// The same router with every weight replaced by `f` of it.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map(&self, f: &mut Change) -> Result<Self> {
        let scores = self.scores.map(f)?;
        let correction = self.correction.as_ref().map(f).transpose()?;
        Ok(Self { scores, correction, chosen: self.chosen, spec: self.spec.clone() })
    }

    /// The scores, [b, n, d] to [b, n, x].
    ///
    /// # Errors
    /// candle's.
    pub fn logits(&self, x: &Tensor) -> Result<Tensor> {
        self.scores.forward(x)
    }

    /// The experts' shares of each token, 0 where one is not chosen: [b, n, x] to [b, n, x]. Half
    /// types are computed in float32.
    ///
    /// # Errors
    /// candle's.
    pub fn shares(&self, logits: &Tensor) -> Result<Tensor> {
        let RouterSpec { scores, normalised, scale, .. } = self.spec;
        let wide = widen(logits)?;
        let mut shares = match scores {
            Scores::Softmax => {
                let scores = softmax(&wide)?;
                (&scores * self.choice(&scores)?)?
            }
            Scores::Sigmoid => {
                let scores = sigmoid(&wide)?;
                (&scores * self.choice(&scores)?)?
            }
            Scores::SoftmaxOfChosen => {
                let chosen = self.choice(&wide)?.to_dtype(DType::U8)?;
                let nothing = (wide.zeros_like()? + f64::NEG_INFINITY)?;
                softmax(&chosen.where_cond(&wide, &nothing)?)?
            }
        };
        if let Some(least) = normalised {
            shares = shares.broadcast_div(&shares.sum_keepdim(D::Minus1)?.maximum(least)?)?;
        }
        if scale != 1.0 {
            shares = (shares * scale)?;
        }
        if let Some(correction) = self.correction.as_ref().filter(|it| it.track_op()) {
            // No gradient goes through a choice: that of a variable is 0.
            let correction = correction.to_dtype(shares.dtype())?;
            shares = shares.broadcast_add(&(&correction * correction.zeros_like()?)?)?;
        }
        Ok(shares.to_dtype(logits.dtype())?)
    }

    /// 1 for the experts that each token has, else 0: [b, n, x]. No gradient goes through a choice.
    fn choice(&self, scores: &Tensor) -> Result<Tensor> {
        let scores = scores.detach();
        let scores = match &self.correction {
            Some(correction) => {
                scores.broadcast_add(&correction.detach().to_dtype(scores.dtype())?)?
            }
            None => scores,
        };
        let experts = scores.dim(D::Minus1)?;
        let each = rows(&scores.reshape(((), experts))?)?;
        let each: Vec<f32> = each.iter().flat_map(|scores| self.choose(scores)).collect();
        Ok(Tensor::from_vec(each, scores.shape(), scores.device())?.to_dtype(scores.dtype())?)
    }

    /// 1 for the experts that a token of these scores has, else 0.
    fn choose(&self, scores: &[f32]) -> Vec<f32> {
        let mut among = scores.to_vec();
        if let Some(groups) = self.spec.groups {
            leave_out_groups(&mut among, groups);
        }
        let mut each = vec![0.0; scores.len()];
        best(&among, self.chosen).for_each(|expert| each[expert] = 1.0);
        each
    }
}

/// Sets the scores of experts to −∞ that are in none of the best groups.
fn leave_out_groups(scores: &mut [f32], groups: Groups) {
    let size = scores.len() / groups.count;
    let score = |group: &[f32]| match groups.by {
        GroupScore::Best => group.iter().copied().fold(f32::NEG_INFINITY, f32::max),
        GroupScore::TwoBest => best(group, 2).map(|at| group[at]).sum(),
    };
    let of_groups: Vec<f32> = scores.chunks(size).map(score).collect();
    let kept: Vec<usize> = best(&of_groups, groups.chosen).collect();
    for (group, scores) in scores.chunks_mut(size).enumerate() {
        if !kept.contains(&group) {
            scores.fill(f32::NEG_INFINITY);
        }
    }
}

/// The places of the `count` largest, largest first; of equal ones those that come first.
fn best(scores: &[f32], count: usize) -> impl Iterator<Item = usize> {
    let mut places: Vec<usize> = (0..scores.len()).collect();
    places.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    places.into_iter().take(count)
}

/// 1 / (1 + e^−x), written so that its derivative is finite for every x.
///
/// # Errors
/// candle's.
pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
    Ok((((x * 0.5)?.tanh()? + 1.0)? * 0.5)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_compared_by_their_best_or_their_two_best() {
        let scores = [0.9, 0.0, 0.5, 0.6, 0.1, 0.2];
        let left = |by| {
            let mut left = scores;
            leave_out_groups(&mut left, Groups { count: 3, chosen: 1, by });
            left.map(f32::is_finite)
        };
        assert_eq!(left(GroupScore::Best), [true, true, false, false, false, false]);
        assert_eq!(left(GroupScore::TwoBest), [false, false, true, true, false, false]);
    }

    #[test]
    fn of_equal_scores_the_first_is_chosen() {
        assert_eq!(best(&[0.5, 0.7, 0.5, 0.7], 3).collect::<Vec<_>>(), [1, 3, 0]);
    }
}
