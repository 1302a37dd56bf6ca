//! Multi-head attention (Vaswani et al. 2017), with grouped key/value heads (Ainslie et al. 2023).

use candle_core::{D, DType, Tensor};

use super::kv_cache::Past;
use super::linear::{Change, Linear};
use super::norm::Norm;
use super::pass::{Halt, Tap};
use super::rotary::Rotary;
use super::spec::QkNorm;
use crate::hook::Point;
use crate::tensor::linalg::batched_products::products;
use crate::{Result, bail, kernel};

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
        let scores = tap.at(Point::PostMaskAttnWeights, masked(&scores, &frame.allowed)?)?;
        let hooked = BEFORE_SOFTMAX.into_iter().any(|point| tap.wants(point));
        let pattern = tap.at(Point::AttnProbs, softmax(&scores, hooked)?)?;
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
        Ok(matmul(&x, y, scale)?.reshape((b, h, n, j))?)
    }

    /// The output projection of the heads' values z [b, h, n, c]. Each head's own part is made only
    /// where it is wanted.
    fn join(&self, z: Tensor, tap: &mut Tap) -> Result<Tensor, Halt> {
        let (b, h, n, c) = z.dims4()?;
        let joined = if tap.wants(Point::AttnHeadOutputs) {
            let w_o = self.w_o()?.unsqueeze(0)?.expand((b, h, c, self.out.weight.dim(0)?))?;
            let each = tap.at(Point::AttnHeadOutputs, matmul(&z, &w_o, 1.0)?)?;
            let sum = match kernel::sum_of_heads(&each) {
                Some(sum) => sum?,
                None => each.sum(1)?,
            };
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

/// `scale` times the products of the matrices [b, h, n, i] and [b, h, i, j].
fn matmul(x: &Tensor, y: &Tensor, scale: f64) -> Result<Tensor> {
    if let Some(products) = products(x, y, scale as f32) {
        return Ok(products?);
    }
    // Copied as it lies: candle multiplies matrices that lie column by column as well.
    let y =
        if y.stride().last() == Some(&1) { y.contiguous()? } else { y.t()?.contiguous()?.t()? };
    let product = x.contiguous()?.matmul(&y)?;
    Ok(if scale == 1.0 { product } else { (product * scale)? })
}

/// [b, n, h·c] to [b, n, h, c].
fn split(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (b, n, _) = x.dims3()?;
    Ok(x.reshape((b, n, heads, ()))?)
}

/// Scores where the query may look, the dtype's lowest finite value elsewhere.
fn masked(scores: &Tensor, allowed: &Tensor) -> Result<Tensor> {
    if let Some(masked) = kernel::softmax::masked(scores, allowed) {
        return Ok(masked?);
    }
    let lowest = Tensor::new(lowest(scores.dtype())?, scores.device())?
        .to_dtype(scores.dtype())?
        .broadcast_as(scores.shape())?;
    Ok(allowed.broadcast_as(scores.shape())?.where_cond(scores, &lowest)?)
}

/// The lowest finite value.
fn lowest(dtype: DType) -> Result<f64> {
    Ok(match dtype {
        DType::F16 => f64::from(half::f16::MIN),
        DType::BF16 => f64::from(half::bf16::MIN),
        DType::F32 => f64::from(f32::MIN),
        DType::F64 => f64::MIN,
        other => bail!("scores can't be {}", other.as_str()),
    })
}

/// cap · tanh(x / cap), which never leaves ±cap.
pub fn soft_cap(x: &Tensor, cap: f64) -> Result<Tensor> {
    Ok(((x / cap)?.tanh()? * cap)?)
}

/// Over the last dimension. A query that has nothing left to attend to (see
/// [`kernel::softmax::shares`]) attends to nothing. `hooked` says whether a hook may have made such
/// a query.
fn softmax(scores: &Tensor, hooked: bool) -> Result<Tensor> {
    if let Some(pattern) = kernel::softmax::softmax(scores) {
        return Ok(pattern?);
    }
    // A GPU would have more to do than the softmax is.
    let nothing_left =
        if hooked || scores.device().is_cpu() { nothing_left(scores)? } else { None };
    match nothing_left {
        None => plain_softmax(scores),
        Some(rows) => {
            let zeros = scores.zeros_like()?;
            let pattern = plain_softmax(&rows.where_cond(&zeros, scores)?)?;
            Ok(rows.where_cond(&zeros, &pattern)?)
        }
    }
}

/// u8 of the scores' shape: 1 in the rows that hold nothing but −∞ and what stands where the mask
/// hides, and −∞ at least once.
fn nothing_left(scores: &Tensor) -> Result<Option<Tensor>> {
    let infinite = scores.eq(f64::NEG_INFINITY)?;
    if scores.device().is_cpu() && infinite.flatten_all()?.max(0)?.to_scalar::<u8>()? == 0 {
        return Ok(None);
    }
    let low = scores.le(lowest(scores.dtype())?)?;
    let rows = (low.min_keepdim(D::Minus1)? * infinite.max_keepdim(D::Minus1)?)?;
    Ok(Some(rows.broadcast_as(scores.shape())?.contiguous()?))
}

/// Half types accumulate in float32.
fn plain_softmax(scores: &Tensor) -> Result<Tensor> {
    if let Some(pattern) = kernel::fused::softmax(scores) {
        return Ok(pattern?);
    }
    let dtype = scores.dtype();
    let wide = if matches!(dtype, DType::F16 | DType::BF16) {
        scores.to_dtype(DType::F32)?
    } else {
        scores.clone()
    };
    Ok(candle_nn::ops::softmax(&wide, D::Minus1)?.to_dtype(dtype)?)
}
