//! One block of the decoder: attention and MLP, each with its norms, adding to the residual stream.

use candle_core::Tensor;

use super::attention::Attention;
use super::attention_inputs::LayerInputs;
use super::head_inputs::{Between, HeadInputs};
use super::kv_cache::Past;
use super::linear::Change;
use super::mlp::Mlp;
use super::norm::Norm;
use super::recompute::recomputed;
use super::spec::NormPlace;
use super::tap::{Halt, Tap};
use crate::Result;
use crate::hook::Point;
use crate::kernel::sum::sum;

/// One block.
#[derive(Debug, Clone)]
pub struct Block {
    pub attn_norms: Norms,
    pub attention: Attention,
    pub mlp_norms: Norms,
    pub mlp: Mlp,
    /// Whether the MLP reads the block's input, as attention does.
    pub parallel: bool,
}

impl Block {
    /// The block with every weight replaced by `f` of it.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map(&self, f: &mut Change) -> Result<Self> {
        Ok(Self {
            attn_norms: self.attn_norms.map(f)?,
            attention: self.attention.map(f)?,
            mlp_norms: self.mlp_norms.map(f)?,
            mlp: self.mlp.map(f)?,
            parallel: self.parallel,
        })
    }

    /// The residual stream x [b, n, d] to the stream that the next block reads, [b, n, d].
    ///
    /// # Errors
    /// Those of [`Tap::at`] and candle's.
    pub fn forward(
        &self,
        x: Tensor,
        inputs: &LayerInputs,
        past: Past,
        tap: &mut Tap,
    ) -> Result<Tensor, Halt> {
        let x = tap.at(Point::PreBlock, x)?;
        let x = if past.is_none() && tap.recomputes() && self.is_tracked(&x) {
            recomputed(self, tap.layer.unwrap_or(0), &x, inputs)?
        } else {
            self.add(x, inputs, past, tap)?
        };
        let x = tap.at(Point::PostMlp, x)?;
        self.mlp_norms.after(x, tap)
    }

    /// The stream x [b, n, d] with what attention and MLP add to it, [b, n, d].
    ///
    /// # Errors
    /// Those of [`Tap::at`] and candle's.
    pub fn add(
        &self,
        x: Tensor,
        inputs: &LayerInputs,
        past: Past,
        tap: &mut Tap,
    ) -> Result<Tensor, Halt> {
        let copies = HeadInputs::copies(&x, self.attention.heads, self.attention.kv_heads, tap)?;
        let stream = x.clone();
        let (read, scale) = self.attn_norms.before(&x, tap)?;
        let x = if self.attn_norms.place == NormPlace::Stream { read.clone() } else { x };
        let (x, read) = self.attn_norms.at(Point::PreAttn, x, read, tap)?;
        let between = self.attn_norms.between(scale, Point::PreAttn, tap);
        let heads = copies.through(&stream, &read, &between)?;
        let attn = self.attention.forward(&read, heads, inputs, past, tap)?;
        let attn = self.attn_norms.of_output(attn, tap)?;
        let attn = tap.at(Point::AttnResidual, attn)?;
        let mid = tap.at(Point::PostAttn, sum(&x, &attn)?)?;
        let mid = self.attn_norms.after(mid, tap)?;

        // In a parallel block the sum is x + attention(norm(x)) + mlp(norm(x)).
        let (mid, read) = self.mlp_reads(if self.parallel { x } else { mid.clone() }, mid, tap)?;
        let mlp = self.mlp.forward(&read, tap)?;
        let mlp = self.mlp_norms.of_output(mlp, tap)?;
        let mlp = tap.at(Point::MlpResidual, mlp)?;
        Ok(sum(&mid, &mlp)?)
    }

    /// The stream `mid` [b, n, d], and what the MLP reads: the norm of a copy of x, which is the stream
    /// or in a parallel block what entered it.
    fn mlp_reads(&self, x: Tensor, mid: Tensor, tap: &mut Tap) -> Result<(Tensor, Tensor), Halt> {
        let norms = &self.mlp_norms;
        let copy = tap.at(Point::MlpInput, x.clone())?;
        if norms.place == NormPlace::After && !tap.replaced && copy.id() != x.id() {
            // What stands at pre-mlp is the stream itself, and the copy has a gradient of its own.
            let (mid, read) = norms.at(Point::PreMlp, mid, x.clone(), tap)?;
            return Ok((mid, sum(&read, &(copy - x)?)?));
        }
        let (read, _) = norms.before(&copy, tap)?;
        let mid = match norms.place {
            NormPlace::Stream if copy.id() == x.id() => read.clone(),
            // A change of the copy is none of the stream.
            NormPlace::Stream => norms.norm.plain(&mid)?,
            _ => mid,
        };
        norms.at(Point::PreMlp, mid, read, tap)
    }

    /// Whether the block's result for x has a graph of gradients.
    fn is_tracked(&self, x: &Tensor) -> bool {
        let mut tracked = x.track_op();
        // Nothing fails in a look.
        let _ = self.map(&mut |weight| {
            tracked |= weight.track_op();
            Ok(weight.clone())
        });
        tracked
    }

    /// What the block applies to the stream after `post-mlp`, [.., d] to [.., d]: its last norm in a
    /// post-norm model.
    pub fn after_post_mlp(&self, x: Tensor) -> Result<Tensor> {
        match self.mlp_norms.place {
            NormPlace::After => self.mlp_norms.norm.plain(&x),
            _ => Ok(x),
        }
    }
}

/// The norms of one sub-block, attention or MLP.
#[derive(Debug, Clone)]
pub struct Norms {
    /// The only norm, or with [`NormPlace::Both`] the one before the sub-block.
    pub norm: Norm,
    /// With [`NormPlace::Both`], the norm of the sub-block's output.
    pub output: Option<Norm>,
    pub place: NormPlace,
    pub points: Scales,
}

/// The points at which the scales of a sub-block's norms can be seen.
#[derive(Debug, Clone, Copy)]
pub struct Scales {
    pub norm: Point,
    /// For the norm of the sub-block's output.
    pub output: Point,
}

impl Scales {
    /// Attention's.
    pub const ATTN: Self = Self { norm: Point::AttnNormScale, output: Point::PostAttnNormScale };
    /// The MLP's.
    pub const MLP: Self = Self { norm: Point::MlpNormScale, output: Point::PostMlpNormScale };
}

impl Norms {
    fn map(&self, f: &mut Change) -> Result<Self> {
        let output = self.output.as_ref().map(|output| output.map(f)).transpose()?;
        Ok(Self { norm: self.norm.map(f)?, output, ..*self })
    }

    /// The norm before the sub-block, if there is one: of the stream x [b, n, d].
    /// Also the scale that a hook put in place of the norm's own.
    fn before(&self, x: &Tensor, tap: &mut Tap) -> Result<(Tensor, Option<Tensor>), Halt> {
        match self.place {
            NormPlace::Before | NormPlace::Both | NormPlace::Stream => {
                self.norm.forward(x, &[self.points.norm], tap)
            }
            NormPlace::After | NormPlace::Outputs => Ok((x.clone(), None)),
        }
    }

    /// What stands between copies of the stream and the sub-block, where `scale` is that of
    /// [`before`](Self::before) and what is read stands at `point`.
    fn between(&self, scale: Option<Tensor>, point: Point, tap: &Tap) -> Between<'_> {
        let before = matches!(self.place, NormPlace::Before | NormPlace::Both | NormPlace::Stream);
        let norm = before.then_some(&self.norm);
        Between { norm, scale, observed: tap.wants(self.points.norm) || tap.wants(point) }
    }

    /// Calls the observer at `point` with what the sub-block reads. Gives the stream [b, n, d] and
    /// what the sub-block reads: where the stream itself is normed both are one tensor, whose gradient
    /// is that of all its uses, until a hook puts another in the sub-block's way.
    fn at(
        &self,
        point: Point,
        stream: Tensor,
        read: Tensor,
        tap: &mut Tap,
    ) -> Result<(Tensor, Tensor), Halt> {
        let one =
            matches!(self.place, NormPlace::After | NormPlace::Stream) && stream.id() == read.id();
        let read = tap.at(point, read)?;
        let stream = if one && !tap.replaced { read.clone() } else { stream };
        Ok((stream, read))
    }

    /// The norm of the sub-block's output y [b, n, d], if there is one.
    fn of_output(&self, y: Tensor, tap: &mut Tap) -> Result<Tensor, Halt> {
        match (&self.output, self.place) {
            (Some(output), _) => Ok(output.forward(&y, &[self.points.output], tap)?.0),
            // The only norm of the sub-block has both points.
            (None, NormPlace::Outputs) => {
                Ok(self.norm.forward(&y, &[self.points.norm, self.points.output], tap)?.0)
            }
            _ => Ok(y),
        }
    }

    /// The norm of the stream x [b, n, d] after the sub-block's output was added, if there is one.
    fn after(&self, x: Tensor, tap: &mut Tap) -> Result<Tensor, Halt> {
        match self.place {
            NormPlace::After => Ok(self.norm.forward(&x, &[self.points.norm], tap)?.0),
            _ => Ok(x),
        }
    }
}
