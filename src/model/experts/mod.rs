//! A mixture of experts (Shazeer et al. 2017) in an MLP's place. Only the experts that a token has
//! are computed for it: tokens are grouped by expert, and an expert reads all of its tokens at once.

mod groups;
mod router;

use candle_core::{DType, Tensor};

use self::groups::Group;
pub use self::router::{Router, sigmoid};
use super::linear::{Change, Linear};
use super::mlp::Dense;
use super::tap::{Halt, Tap};
use crate::Result;
use crate::hook::Point;
use crate::kernel::elementwise::Binary;
use crate::kernel::sum::{sum, sum_of_heads};

/// Σ over the experts e of a token of share_e · expert_e(x), and the shared expert of all tokens.
#[derive(Debug, Clone)]
pub struct Experts {
    pub router: Router,
    pub experts: Vec<Dense>,
    pub shared: Option<Shared>,
}

/// The expert that every token has.
#[derive(Debug, Clone)]
pub struct Shared {
    pub expert: Dense,
    /// d to 1: what it gives is multiplied by the logistic function of this (Qwen2-MoE).
    pub gate: Option<Linear>,
}

impl Experts {
    /// The same layer with every weight replaced by `f` of it.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map(&self, f: &mut Change) -> Result<Self> {
        let shared = match &self.shared {
            None => None,
            Some(Shared { expert, gate }) => Some(Shared {
                expert: expert.map(f)?,
                gate: gate.as_ref().map(|gate| gate.map(f)).transpose()?,
            }),
        };
        let experts = self.experts.iter().map(|expert| expert.map(f)).collect::<Result<_>>()?;
        Ok(Self { router: self.router.map(f)?, experts, shared })
    }

    /// [b, n, d] to [b, n, d].
    ///
    /// # Errors
    /// Those of [`Tap::at`] and candle's.
    pub fn forward(&self, x: &Tensor, tap: &mut Tap) -> Result<Tensor, Halt> {
        let logits = tap.at(Point::RouterLogits, self.router.logits(x)?)?;
        let shares = tap.at(Point::ExpertWeights, self.router.shares(&logits)?)?;
        let (b, n, d) = x.dims3()?;
        let tokens = x.reshape((b * n, d))?;
        let shares = shares.reshape((b * n, self.experts.len()))?;
        let own = groups::by_expert(&shares)?;
        let routed = if tap.wants(Point::ExpertOutputs) {
            let each =
                self.each(&tokens, &shares, &own)?.reshape(((), b, n, d))?.transpose(0, 1)?;
            sum_of_heads(&tap.at(Point::ExpertOutputs, each.contiguous()?)?)?
        } else {
            self.together(&tokens, &shares, &own)?.reshape((b, n, d))?
        };
        match &self.shared {
            Some(shared) => Ok(sum(&routed, &shared.forward(x)?)?),
            None => Ok(routed),
        }
    }

    /// The sum of the experts' parts, [t, d]: of tokens [t, d] with their shares [t, x].
    fn together(&self, tokens: &Tensor, shares: &Tensor, own: &[Group]) -> Result<Tensor> {
        let nothing = self.connected(tokens, own)?;
        if own.is_empty() {
            return Ok(nothing);
        }
        let parts = parts(tokens, shares, own, |expert, read| self.experts[expert].plain(read))?;
        let places = groups::places(own, tokens.device())?;
        Ok(nothing.index_add(&places, &Tensor::cat(&parts, 0)?, 0)?)
    }

    /// Zeros [t, d]. Where weights of experts that no token has are variables, these are connected to
    /// them, so that their gradients are 0, as those of PyTorch's stacked experts.
    fn connected(&self, tokens: &Tensor, own: &[Group]) -> Result<Tensor> {
        let mut nothing = tokens.zeros_like()?;
        for (at, expert) in self.experts.iter().enumerate() {
            let idle = !own.iter().any(|group| group.expert == at);
            if idle && expert.is_tracked() {
                let first = expert.plain(&tokens.narrow(0, 0, 1)?.detach())?;
                // A factor that is no tensor would cut the graph at 0.
                nothing = nothing.broadcast_add(&(&first * first.zeros_like()?)?)?;
            }
        }
        Ok(nothing)
    }

    /// Each expert's part, [x, t, d]: 0 for the tokens that it does not have.
    fn each(&self, tokens: &Tensor, shares: &Tensor, own: &[Group]) -> Result<Tensor> {
        let nothing = tokens.zeros_like()?;
        let mut each = vec![nothing.clone(); self.experts.len()];
        let parts = parts(tokens, shares, own, |expert, read| self.experts[expert].plain(read))?;
        for (group, part) in own.iter().zip(&parts) {
            each[group.expert] = nothing.index_add(&group.places(tokens.device())?, part, 0)?;
        }
        Ok(Tensor::stack(&each, 0)?)
    }
}

/// What each group's expert gives for the group's tokens, times their shares, [tokens of the group, d].
/// `compute` is called once for each group, with an expert and all that it reads.
fn parts(
    tokens: &Tensor,
    shares: &Tensor,
    own: &[Group],
    mut compute: impl FnMut(usize, &Tensor) -> Result<Tensor>,
) -> Result<Vec<Tensor>> {
    let part = |group: &Group| {
        let places = group.places(tokens.device())?;
        let read = tokens.index_select(&places, 0)?;
        let shares = shares.narrow(1, group.expert, 1)?.contiguous()?.index_select(&places, 0)?;
        Ok(Binary::Mul.apply(&compute(group.expert, &read)?, &shares)?)
    };
    own.iter().map(part).collect()
}

impl Shared {
    /// [b, n, d] to [b, n, d].
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.expert.plain(x)?;
        match &self.gate {
            Some(gate) => Ok(Binary::Mul.apply(&y, &sigmoid(&gate.forward(x)?)?)?),
            None => Ok(y),
        }
    }
}

/// The numbers of a matrix, row by row, in float32.
fn rows(x: &Tensor) -> Result<Vec<Vec<f32>>> {
    Ok(x.detach().to_dtype(DType::F32)?.to_vec2()?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn each_chosen_expert_computes_once_and_reads_its_tokens_alone() {
        let device = &Device::Cpu;
        let tokens = Tensor::new(&[[1.0f32, 2.0], [3.0, 4.0], [5.0, 6.0]], device).unwrap();
        let shares =
            Tensor::new(&[[0.0f32, 1.0, 0.0], [0.0, 0.5, 0.0], [0.25, 0.0, 0.0]], device).unwrap();
        let mut computed = Vec::new();
        let own = groups::by_expert(&shares).unwrap();
        let parts = parts(&tokens, &shares, &own, |expert, read| {
            computed.push((expert, rows(read)?));
            Ok(read.clone())
        });
        let parts: Vec<_> = parts.unwrap().iter().map(|part| rows(part).unwrap()).collect();
        let read = [(0, vec![vec![5.0, 6.0]]), (1, vec![vec![1.0, 2.0], vec![3.0, 4.0]])];
        assert_eq!(computed, read);
        assert_eq!(parts, [vec![vec![1.25, 1.5]], vec![vec![1.0, 2.0], vec![1.5, 2.0]]]);
    }
}
