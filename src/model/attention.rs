//! Multi-head attention (Vaswani et al. 2017) with grouped key/value heads (Ainslie et al. 2023).

use candle_core::{D, DType, Tensor};

use super::attention_inputs::LayerInputs;
use super::head_inputs::HeadInputs;
use super::kv_cache::Past;
use super::linear::{Change, Linear};
use super::norm::Norm;
use super::spec::QkNorm;
use super::tap::{Halt, Tap};
use crate::hook::Point;
use crate::kernel::cap::soft_cap;
use crate::kernel::elementwise::Binary;
use crate::kernel::sum::sum_of_heads;
use crate::kernel::{heads, product, softmax};
use crate::{Result, kernel};

/// Points whose tensors the fused kernel does not produce. If one of them is asked for, scores and
/// pattern are computed step by step.
const SCORES: [Point; 3] =
    [Point::PreMaskAttnWeights, Point::PostMaskAttnWeights, Point::AttnProbs];

/// Points at which a hook may change the scores before the softmax.
const BEFORE_SOFTMAX: [Point; 4] =
    [Point::QueryStates, Point::KeyStates, Point::PreMaskAttnWeights, Point::PostMaskAttnWeights];

/// softmax(mask(score_scale · q·kᵀ))·v, projected by `out`. A key/value head serves the h / k query
/// heads of its group.
#[derive(Debug, Clone)]
pub struct Attention {
    /// d to h·c.
    pub q: Linear,
    /// d to k·c.
    pub k: Linear,
    /// d to k·c.
    pub v: Linear,
    /// h·c to d.
    pub out: Linear,
    /// \[h\]: a score of no key, which takes a share of each query's attention (gpt-oss).
    pub sinks: Option<Tensor>,
    /// The norms of queries and of keys.
    pub qk_norms: Option<(QkNorm, [Norm; 2])>,
    /// h
    pub heads: usize,
    /// k
    pub kv_heads: usize,
    /// c
    pub head_dim: usize,
    /// The factor on the products of queries and keys.
    pub score_scale: f64,
    /// The soft cap of the scores (Gemma 2).
    pub score_cap: Option<f64>,
    /// The largest absolute value of what the projections give (OLMo).
    pub clip: Option<f64>,
}

/// One layer's projections head by head, each matrix as [in, out]. A bias that the family does not
/// have is zeros.
pub struct Heads {
    /// [h, d, c]
    pub w_q: Tensor,
    /// [k, d, c]
    pub w_k: Tensor,
    /// [k, d, c]
    pub w_v: Tensor,
    /// [h, c, d]
    pub w_o: Tensor,
    /// [h, c]
    pub b_q: Tensor,
    /// [k, c]
    pub b_k: Tensor,
    /// [k, c]
    pub b_v: Tensor,
    /// \[d\]
    pub b_o: Tensor,
}

impl Attention {
    /// The same layer with every weight replaced by `f` of it.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map(&self, f: &mut Change) -> Result<Self> {
        let qk_norms = match &self.qk_norms {
            Some((kind, [q, k])) => Some((*kind, [q.map(f)?, k.map(f)?])),
            None => None,
        };
        let [q, k, v, out] = [self.q.map(f)?, self.k.map(f)?, self.v.map(f)?, self.out.map(f)?];
        let sinks = self.sinks.as_ref().map(f).transpose()?;
        Ok(Self { q, k, v, out, sinks, qk_norms, ..*self })
    }

    /// [b, n, d] to [b, n, d]. The keys and values of the n tokens join those in `past`. `heads` is what
    /// single heads read in place of x.
    ///
    /// # Errors
    /// Those of [`Tap::at`] and candle's.
    pub fn forward(
        &self,
        x: &Tensor,
        heads: HeadInputs,
        inputs: &LayerInputs,
        mut past: Past,
        tap: &mut Tap,
    ) -> Result<Tensor, Halt> {
        let (q, k, v) = self.project(x, heads, inputs, tap)?;
        let q = tap.at(Point::QueryStates, q)?;
        let (k, v) = past.append(k, v)?;
        let k = tap.at(Point::KeyStates, k)?;
        let v = tap.at(Point::ValueStates, v)?;

        // The fused kernel knows no sinks.
        let seen = self.sinks.is_some() || SCORES.into_iter().any(|point| tap.wants(point));
        let z = match (!seen)
            .then(|| kernel::attention::attention(&q, &k, &v, &self.rule(inputs)))
            .flatten()
        {
            Some(z) => z?,
            None => self.by_scores(&q, &k, &v, inputs, tap)?,
        };
        let z = tap.at(Point::AttnWeightedValues, z)?;
        self.join(z, tap)
    }

    /// The heads' weighted values [b, h, n, c], with scores and pattern [b, h, n, m] in memory, which
    /// hooks can see.
    fn by_scores(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        inputs: &LayerInputs,
        tap: &mut Tap,
    ) -> Result<Tensor, Halt> {
        let scores = tap.at(Point::PreMaskAttnWeights, self.scores(q, k, inputs)?)?;
        let scores =
            tap.at(Point::PostMaskAttnWeights, softmax::masked(&scores, &inputs.allowed)?)?;
        let hooked = BEFORE_SOFTMAX.into_iter().any(|point| tap.wants(point));
        let pattern = tap.at(Point::AttnProbs, self.pattern(&scores, hooked)?)?;
        Ok(self.by_group(&pattern, v, 1.0)?)
    }

    /// The softmax of masked scores [b, h, n, m], without the share of the sinks.
    fn pattern(&self, scores: &Tensor, hooked: bool) -> Result<Tensor> {
        let Some(sinks) = &self.sinks else { return Ok(softmax::pattern(scores, hooked)?) };
        let (b, h, n, m) = scores.dims4()?;
        let sinks = sinks.to_dtype(scores.dtype())?.reshape((1, h, 1, 1))?.expand((b, h, n, 1))?;
        let with_sinks = Tensor::cat(&[scores, &sinks], D::Minus1)?;
        Ok(softmax::pattern(&with_sinks, hooked)?.narrow(D::Minus1, 0, m)?.contiguous()?)
    }

    fn rule(&self, inputs: &LayerInputs) -> kernel::attention::Rule {
        kernel::attention::Rule {
            scale: self.score_scale,
            cap: self.score_cap,
            allowed: inputs.allowed.clone(),
            bias: inputs.bias.clone(),
        }
    }

    /// Queries [b, h, n, c], keys and values [b, k, n, c] of x [b, n, d], or of what single heads read in
    /// its place: normed and rotated as the family does it.
    fn project(
        &self,
        x: &Tensor,
        heads: HeadInputs,
        inputs: &LayerInputs,
        tap: &mut Tap,
    ) -> Result<(Tensor, Tensor, Tensor), Halt> {
        let normed = self.qk_norms.is_some();
        let mut q = self.by_head(&self.q, x, heads.q, self.heads)?;
        let mut k = self.by_head(&self.k, x, heads.k, self.kv_heads)?;
        let v = self.clipped(self.by_head(&self.v, x, heads.v, self.kv_heads)?)?;
        if !normed {
            (q, k) = (self.clipped(q)?, self.clipped(k)?);
        }
        if normed || inputs.rotates {
            (q, k) = (tap.at(Point::PreQueryStates, q)?, tap.at(Point::PreKeyStates, k)?);
        }
        if let Some((kind, [q_norm, k_norm])) = &self.qk_norms {
            // What is normed is clipped after the norm (OLMoE).
            q = self.clipped(norm_of_heads(*kind, q_norm, &q)?)?;
            k = self.clipped(norm_of_heads(*kind, k_norm, &k)?)?;
        }
        if let Some(rotary) = &inputs.rotary {
            (q, k) = (rotary.turn(&q)?, rotary.turn(&k)?);
        }
        Ok((q, k, v))
    }

    fn clipped(&self, x: Tensor) -> Result<Tensor> {
        match self.clip {
            Some(most) => Ok(x.clamp(-most, most)?),
            None => Ok(x),
        }
    }

    /// The projection of x [b, n, d], or of each head's own input [b, heads, n, d], to
    /// [b, heads, n, c].
    fn by_head(
        &self,
        projection: &Linear,
        x: &Tensor,
        own: Option<Tensor>,
        heads: usize,
    ) -> Result<Tensor> {
        let Some(own) = own else {
            return Ok(heads::split(&projection.forward(x)?, heads)?);
        };
        let (b, d) = (own.dim(0)?, own.dim(D::Minus1)?);
        let weight = projection.weight.to_dtype(own.dtype())?;
        let weight = weight.reshape((heads, self.head_dim, d))?.transpose(1, 2)?.unsqueeze(0)?;
        let each = product::matmul(&own, &weight.expand((b, heads, d, self.head_dim))?, 1.0)?;
        match &projection.bias {
            None => Ok(each),
            Some(bias) => {
                let bias = bias.to_dtype(each.dtype())?.reshape((heads, 1, self.head_dim))?;
                Ok(Binary::Add.apply(&each, &bias)?)
            }
        }
    }

    /// The scores before the mask, [b, h, n, m]: scaled, capped and with ALiBi's term.
    fn scores(&self, q: &Tensor, k: &Tensor, inputs: &LayerInputs) -> Result<Tensor> {
        let mut scores = self.by_group(q, &k.t()?, self.score_scale)?;
        if let Some(cap) = self.score_cap {
            scores = soft_cap(&scores, cap)?;
        }
        match &inputs.bias {
            Some(bias) => Ok(Binary::Add.apply(&scores, bias)?),
            None => Ok(scores),
        }
    }

    /// `scale` times the product of each query head's matrix in x [b, h, n, i] with the matrix of its
    /// key/value head in y [b, k, i, j]: [b, h, n, j]. The rows of a group's heads form one matrix, so
    /// that y need not be repeated for each of them.
    fn by_group(&self, x: &Tensor, y: &Tensor, scale: f64) -> Result<Tensor> {
        let (b, h, n, i) = x.dims4()?;
        let j = y.dim(D::Minus1)?;
        let group = h / self.kv_heads;
        let x = if group == 1 { x.clone() } else { x.reshape((b, self.kv_heads, group * n, i))? };
        Ok(product::matmul(&x, y, scale)?.reshape((b, h, n, j))?)
    }

    /// The output projection of the heads' weighted values z [b, h, n, c], to [b, n, d]. The heads'
    /// single outputs [b, h, n, d] are computed only if a hook or a capture asks for them.
    fn join(&self, z: Tensor, tap: &mut Tap) -> Result<Tensor, Halt> {
        let (b, h, _, c) = z.dims4()?;
        let joined = if tap.wants(Point::AttnHeadOutputs) {
            let w_o =
                self.w_o(z.dtype())?.unsqueeze(0)?.expand((b, h, c, self.out.weight.dim(0)?))?;
            let each = tap.at(Point::AttnHeadOutputs, product::matmul(&z, &w_o, 1.0)?)?;
            let sum = sum_of_heads(&each)?;
            match &self.out.bias {
                Some(_) => {
                    let bias = self.out.whole_bias()?.to_dtype(sum.dtype())?;
                    Binary::Add.apply(&sum, &bias)?
                }
                None => sum,
            }
        } else {
            self.out.forward(&heads::join(&z)?)?
        };
        Ok(joined)
    }

    /// The output projection head by head, [h, c, d].
    fn w_o(&self, dtype: DType) -> Result<Tensor> {
        let d = self.out.weight.dim(0)?;
        let whole = self.out.whole_weight(dtype)?;
        Ok(whole.reshape((d, self.heads, self.head_dim))?.permute((1, 2, 0))?)
    }

    /// The projections head by head, in `dtype`.
    ///
    /// # Errors
    /// candle's.
    pub fn heads(&self, dtype: DType) -> Result<Heads> {
        let weight = |linear: &Linear, heads: usize| -> Result<Tensor> {
            let d = linear.weight.dim(1)?;
            let weight = linear.weight.to_dtype(dtype)?;
            Ok(weight.reshape((heads, self.head_dim, d))?.transpose(1, 2)?.contiguous()?)
        };
        let bias = |linear: &Linear, heads: usize| -> Result<Tensor> {
            let shape = (heads, self.head_dim);
            Ok(linear.whole_bias()?.reshape(shape)?.to_dtype(dtype)?)
        };
        Ok(Heads {
            w_q: weight(&self.q, self.heads)?,
            w_k: weight(&self.k, self.kv_heads)?,
            w_v: weight(&self.v, self.kv_heads)?,
            w_o: self.w_o(dtype)?.contiguous()?,
            b_q: bias(&self.q, self.heads)?,
            b_k: bias(&self.k, self.kv_heads)?,
            b_v: bias(&self.v, self.kv_heads)?,
            b_o: self.out.whole_bias()?.to_dtype(dtype)?,
        })
    }
}

/// The norm of queries or keys [b, h, n, c]. It reads them as the projections lay them out, tokens
/// before heads, but for a gain of each head's own.
fn norm_of_heads(kind: QkNorm, norm: &Norm, x: &Tensor) -> Result<Tensor> {
    let (b, h, n, c) = x.dims4()?;
    Ok(match kind {
        QkNorm::PerHead => norm.plain(x)?,
        QkNorm::Shared => norm.plain(&x.transpose(1, 2)?)?.transpose(1, 2)?,
        QkNorm::Whole => {
            let whole = norm.plain(&x.transpose(1, 2)?.reshape((b, n, h * c))?)?;
            whole.reshape((b, n, h, c))?.transpose(1, 2)?
        }
    })
}
