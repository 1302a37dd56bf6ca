//! One block of the residual stream.

use candle_core::Tensor;

use super::attention::{Attention, Frame};
use super::kv_cache::Past;
use super::linear::Change;
use super::mlp::Mlp;
use super::norm::Norm;
use super::pass::{Halt, Tap};
use super::spec::NormPlace;
use crate::Result;
use crate::hook::Point;
use crate::kernel::sum::sum;

#[derive(Debug, Clone)]
pub struct Block {
    pub attn_norms: Norms,
    pub attention: Attention,
    pub mlp_norms: Norms,
    pub mlp: Mlp,
    pub parallel: bool,
}

impl Block {
    /// With other tensors for the weights.
    pub fn map(&self, f: &mut Change) -> Result<Self> {
        Ok(Self {
            attn_norms: self.attn_norms.map(f)?,
            attention: self.attention.map(f)?,
            mlp_norms: self.mlp_norms.map(f)?,
            mlp: self.mlp.map(f)?,
            parallel: self.parallel,
        })
    }

    /// The stream [b, n, d] from `pre-block` to what the next block reads.
    pub fn forward(
        &self,
        x: Tensor,
        frame: &Frame,
        past: Past,
        tap: &mut Tap,
    ) -> Result<Tensor, Halt> {
        let x = tap.at(Point::PreBlock, x)?;

        let read = self.attn_norms.read(&x, tap)?;
        let read = tap.at(Point::PreAttn, read)?;
        let attn = self.attention.forward(&read, frame, past, tap)?;
        let attn = self.attn_norms.give(attn, tap)?;
        let attn = tap.at(Point::AttnResidual, attn)?;
        let after = tap.at(Point::PostAttn, sum(&x, &attn)?)?;
        let after = self.attn_norms.joined(after, tap)?;

        // Parallel: x + attention(norm(x)) + mlp(norm(x)); the MLP reads the block's input.
        let read = self.mlp_norms.read(if self.parallel { &x } else { &after }, tap)?;
        let read = tap.at(Point::PreMlp, read)?;
        let mlp = self.mlp.forward(&read, tap)?;
        let mlp = self.mlp_norms.give(mlp, tap)?;
        let mlp = tap.at(Point::MlpResidual, mlp)?;
        let x = tap.at(Point::PostMlp, sum(&after, &mlp)?)?;
        self.mlp_norms.joined(x, tap)
    }

    /// What follows the last block's `post-mlp` before the final norm.
    pub fn after_post_mlp(&self, x: Tensor) -> Result<Tensor> {
        match self.mlp_norms.place {
            NormPlace::After => self.mlp_norms.norm.plain(&x),
            _ => Ok(x),
        }
    }
}

/// The norms around one sub-block.
#[derive(Debug, Clone)]
pub struct Norms {
    pub norm: Norm,
    /// The second, of what the sub-block gives, where norms stand at both ends.
    pub output: Option<Norm>,
    pub place: NormPlace,
    pub points: Scales,
}

/// The points that show what a sub-block's norms divide by.
#[derive(Debug, Clone, Copy)]
pub struct Scales {
    pub norm: Point,
    /// Of the norm of what the sub-block gives.
    pub output: Point,
}

impl Scales {
    pub const ATTN: Self = Self { norm: Point::AttnNormScale, output: Point::PostAttnNormScale };
    pub const MLP: Self = Self { norm: Point::MlpNormScale, output: Point::PostMlpNormScale };
}

impl Norms {
    fn map(&self, f: &mut Change) -> Result<Self> {
        let output = self.output.as_ref().map(|output| output.map(f)).transpose()?;
        Ok(Self { norm: self.norm.map(f)?, output, ..*self })
    }

    /// What the sub-block reads of the stream x.
    fn read(&self, x: &Tensor, tap: &mut Tap) -> Result<Tensor, Halt> {
        match self.place {
            NormPlace::Before | NormPlace::Both => self.norm.forward(x, &[self.points.norm], tap),
            NormPlace::After | NormPlace::Outputs => Ok(x.clone()),
        }
    }

    /// What joins the stream of what the sub-block gave.
    fn give(&self, y: Tensor, tap: &mut Tap) -> Result<Tensor, Halt> {
        match (&self.output, self.place) {
            (Some(output), _) => output.forward(&y, &[self.points.output], tap),
            // The only norm of the sub-block is known by both names.
            (None, NormPlace::Outputs) => {
                self.norm.forward(&y, &[self.points.norm, self.points.output], tap)
            }
            _ => Ok(y),
        }
    }

    /// What goes on of the stream that it joined.
    fn joined(&self, x: Tensor, tap: &mut Tap) -> Result<Tensor, Halt> {
        match self.place {
            NormPlace::After => self.norm.forward(&x, &[self.points.norm], tap),
            _ => Ok(x),
        }
    }
}
