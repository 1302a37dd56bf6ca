//! One block of the residual stream.

use candle_core::Tensor;

use super::attention::{Attention, Frame};
use super::mlp::Mlp;
use super::norm::Norm;
use super::pass::{Halt, Tap};
use super::spec::NormPlace;
use crate::hook::Point;

#[derive(Debug, Clone)]
pub struct Block {
    pub attn_norm: Norm,
    pub attention: Attention,
    pub mlp_norm: Norm,
    pub mlp: Mlp,
    pub norm_place: NormPlace,
    pub parallel: bool,
}

impl Block {
    /// The stream [b, n, d] from `pre-block` to what the next block reads.
    pub fn forward(&self, x: Tensor, frame: &Frame, tap: &mut Tap) -> Result<Tensor, Halt> {
        let before = self.norm_place == NormPlace::Before;
        let x = tap.at(Point::PreBlock, x)?;

        let read = if before { self.attn_norm.forward(&x, Point::AttnNormScale, tap)? } else { x.clone() };
        let read = tap.at(Point::PreAttn, read)?;
        let attn = self.attention.forward(&read, frame, tap)?;
        let mut after = tap.at(Point::PostAttn, (&x + attn)?)?;
        if !before {
            after = self.attn_norm.forward(&after, Point::AttnNormScale, tap)?;
        }

        // Parallel: x + attention(norm(x)) + mlp(norm(x)); the MLP reads the block's input.
        let read = if self.parallel { &x } else { &after };
        let read = if before { self.mlp_norm.forward(read, Point::MlpNormScale, tap)? } else { read.clone() };
        let read = tap.at(Point::PreMlp, read)?;
        let mlp = self.mlp.forward(&read, tap)?;
        let x = tap.at(Point::PostMlp, (after + mlp)?)?;
        if before { Ok(x) } else { self.mlp_norm.forward(&x, Point::MlpNormScale, tap) }
    }
}
