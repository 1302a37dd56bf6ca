//! Multi-head attention (Vaswani et al. 2017), with grouped key/value heads (Ainslie et al. 2023).

use candle_core::{D, Tensor};

use super::kv_cache::Past;
use super::linear::{Change, Linear};
use super::norm::Norm;
use super::rotary::Rotary;
use super::spec::QkNorm;
use super::tap::{Halt, Tap};
use crate::hook::Point;
use crate::kernel::sum::sum_of_heads;
use crate::kernel::{product, softmax};
use crate::{Result, kernel};

/// What only a hook would see: where nobody looks, it is not made.
const SCORES: [Point; 3] =
    [Point::PreMaskAttnWeights, Point::PostMaskAttnWeights, Point::AttnProbs];

/// Where a hook decides what the scores are.
const BEFORE_SOFTMAX: [Point; 4] =
    [Point::QueryStates, Point::KeyStates, Point::PreMaskAttnWeights, Point::PostMaskAttnWeights];

#[derive(Debug, Clone)]
pub struct Attention {
    pub q: Linear,
    pub k: Linear,
    pub v: Linear,
    pub out: Linear,
    /// Norms of queries and keys.
    pub qk_norms: Option<(QkNorm, [Norm; 2])>,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub score_scale: f64,
    pub score_cap: Option<f64>,
}

/// What every block's attention shares in one pass.
pub struct Frame {
    /// [b or 1, 1, n, m], u8.
    pub allowed: Tensor,
    pub rotary: Option<Rotary>,
    /// What joins the scores, [b, h, 1, m] (ALiBi).
    pub bias: Option<Tensor>,
}

/// One layer's projections head by head, input first: `w_q` \[h, d, c\], `w_k` and `w_v` \[k, d,
/// c\], `w_o` \[h, c, d\], `b_q` \[h, c\], `b_k` and `b_v` \[k, c\], `b_o` \[d\]. A bias that the
/// family does not have is zero.
pub struct Heads {
    pub w_q: Tensor,
    pub w_k: Tensor,
    pub w_v: Tensor,
    pub w_o: Tensor,
    pub b_q: Tensor,
    pub b_k: Tensor,
    pub b_v: Tensor,
    pub b_o: Tensor,
}

impl Attention {
    /// With other tensors for the weights.
    pub fn map(&self, f: &mut Change) -> Result<Self> {
        let qk_norms = match &self.qk_norms {
            Some((kind, [q, k])) => Some((*kind, [q.map(f)?, k.map(f)?])),
            None => None,
        };
        let [q, k, v, out] = [self.q.map(f)?, self.k.map(f)?, self.v.map(f)?, self.out.map(f)?];
        Ok(Self { q, k, v, out, qk_norms, ..*self })
    }

    /// [b, n, d] to [b, n, d].
    pub fn forward(
        &self,
        x: &Tensor,
        frame: &Frame,
        mut past: Past,
        tap: &mut Tap,
    ) -> Result<Tensor, Halt> {
        let (q, k, v) = self.project(x, frame)?;
        let q = tap.at(Point::QueryStates, q)?;
        let (k, v) = past.append(k, v)?;
        let k = tap.at(Point::KeyStates, k)?;
        let v = tap.at(Point::ValueStates, v)?;

        let seen = SCORES.into_iter().any(|point| tap.wants(point));
        let z = match (!seen)
            .then(|| kernel::attention::attention(&q, &k, &v, &self.rule(frame)))
            .flatten()
        {
            Some(z) => z?,
            None => self.by_scores(&q, &k, &v, frame, tap)?,
        };
        let z = tap.at(Point::AttnWeightedValues, z)?;
        self.join(z, tap)
    }

    /// The heads' values [b, h, n, c], by way of the scores and the pattern [b, h, n, m].
    fn by_scores(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        frame: &Frame,
        tap: &mut Tap,
    ) -> Result<Tensor, Halt> {
        let scores = tap.at(Point::PreMaskAttnWeights, self.scores(q, k, frame)?)?;
        let scores =
            tap.at(Point::PostMaskAttnWeights, softmax::masked(&scores, &frame.allowed)?)?;
        let hooked = BEFORE_SOFTMAX.into_iter().any(|point| tap.wants(point));
        let pattern = tap.at(Point::AttnProbs, softmax::pattern(&scores, hooked)?)?;
        Ok(self.by_group(&pattern, v, 1.0)?)
    }

    fn rule<'a>(&self, frame: &'a Frame) -> kernel::attention::Rule<'a> {
        kernel::attention::Rule {
            scale: self.score_scale,
            cap: self.score_cap,
            allowed: &frame.allowed,
            bias: frame.bias.as_ref(),
        }
    }

    /// Queries [b, h, n, c], keys and values [b, k, n, c].
    fn project(&self, x: &Tensor, frame: &Frame) -> Result<(Tensor, Tensor, Tensor)> {
        let (mut q, mut k, v) = (self.q.forward(x)?, self.k.forward(x)?, self.v.forward(x)?);
        if let Some((QkNorm::Whole, [q_norm, k_norm])) = &self.qk_norms {
            (q, k) = (q_norm.plain(&q)?, k_norm.plain(&k)?);
        }
        let (mut q, mut k, v) =
            (split(&q, self.heads)?, split(&k, self.kv_heads)?, split(&v, self.kv_heads)?);
        if let Some((QkNorm::Shared, [q_norm, k_norm])) = &self.qk_norms {
            (q, k) = (q_norm.plain(&q)?, k_norm.plain(&k)?);
        }
        let (mut q, mut k, v) = (q.transpose(1, 2)?, k.transpose(1, 2)?, v.transpose(1, 2)?);
        if let Some((QkNorm::PerHead, [q_norm, k_norm])) = &self.qk_norms {
            (q, k) = (q_norm.plain(&q)?, k_norm.plain(&k)?);
        }
        if let Some(rotary) = &frame.rotary {
            (q, k) = (rotary.turn(&q)?, rotary.turn(&k)?);
        }
        Ok((q, k, v))
    }

    /// Scaled scores [b, h, n, m], as they stand before the mask.
    fn scores(&self, q: &Tensor, k: &Tensor, frame: &Frame) -> Result<Tensor> {
        let mut scores = self.by_group(q, &k.t()?, self.score_scale)?;
        if let Some(cap) = self.score_cap {
            scores = soft_cap(&scores, cap)?;
        }
        match &frame.bias {
            Some(bias) => Ok(scores.broadcast_add(bias)?),
            None => Ok(scores),
        }
    }

    /// `scale` times the product of each query head's matrix [b, h, n, i] with that of the
    /// key/value head it shares, [b, k, i, j]: the heads of a group stand below one another, so
    /// that nothing is repeated.
    fn by_group(&self, x: &Tensor, y: &Tensor, scale: f64) -> Result<Tensor> {
        let (b, h, n, i) = x.dims4()?;
        let j = y.dim(D::Minus1)?;
        let group = h / self.kv_heads;
        let x = if group == 1 { x.clone() } else { x.reshape((b, self.kv_heads, group * n, i))? };
        Ok(product::matmul(&x, y, scale)?.reshape((b, h, n, j))?)
    }

    /// The output projection of the heads' values z [b, h, n, c]. Each head's own part is made only
    /// where it is wanted.
    fn join(&self, z: Tensor, tap: &mut Tap) -> Result<Tensor, Halt> {
        let (b, h, n, c) = z.dims4()?;
        let joined = if tap.wants(Point::AttnHeadOutputs) {
            let w_o = self.w_o()?.unsqueeze(0)?.expand((b, h, c, self.out.weight.dim(0)?))?;
            let each = tap.at(Point::AttnHeadOutputs, product::matmul(&z, &w_o, 1.0)?)?;
            let sum = sum_of_heads(&each)?;
            match &self.out.bias {
                Some(bias) => sum.broadcast_add(bias)?,
                None => sum,
            }
        } else {
            self.out.forward(&z.transpose(1, 2)?.reshape((b, n, h * c))?)?
        };
        Ok(joined)
    }

    /// [h, c, d]
    fn w_o(&self) -> Result<Tensor> {
        let d = self.out.weight.dim(0)?;
        Ok(self.out.weight.reshape((d, self.heads, self.head_dim))?.permute((1, 2, 0))?)
    }

    /// The projections head by head.
    pub fn heads(&self) -> Result<Heads> {
        let weight = |linear: &Linear, heads: usize| -> Result<Tensor> {
            let d = linear.weight.dim(1)?;
            Ok(linear.weight.reshape((heads, self.head_dim, d))?.transpose(1, 2)?.contiguous()?)
        };
        let bias = |linear: &Linear, heads: usize| -> Result<Tensor> {
            let shape = (heads, self.head_dim);
            Ok(match &linear.bias {
                Some(bias) => bias.reshape(shape)?,
                None => Tensor::zeros(shape, linear.weight.dtype(), linear.weight.device())?,
            })
        };
        let b_o = match &self.out.bias {
            Some(bias) => bias.clone(),
            None => Tensor::zeros(
                self.out.weight.dim(0)?,
                self.out.weight.dtype(),
                self.out.weight.device(),
            )?,
        };
        Ok(Heads {
            w_q: weight(&self.q, self.heads)?,
            w_k: weight(&self.k, self.kv_heads)?,
            w_v: weight(&self.v, self.kv_heads)?,
            w_o: self.w_o()?.contiguous()?,
            b_q: bias(&self.q, self.heads)?,
            b_k: bias(&self.k, self.kv_heads)?,
            b_v: bias(&self.v, self.kv_heads)?,
            b_o,
        })
    }
}

/// [b, n, h·c] to [b, n, h, c].
fn split(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (b, n, _) = x.dims3()?;
    Ok(x.reshape((b, n, heads, ()))?)
}

/// cap · tanh(x / cap), which never leaves ±cap.
pub fn soft_cap(x: &Tensor, cap: f64) -> Result<Tensor> {
    Ok(((x / cap)?.tanh()? * cap)?)
}
