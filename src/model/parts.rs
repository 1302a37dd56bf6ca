//! Parts of the decoder on their own, for a stream that someone else made.

use candle_core::Tensor;

use super::attention::{Frame, soft_cap};
use super::attention_inputs::Frames;
use super::block::Block;
use super::decoder::{Decoder, Options};
use super::finite::NotFinite;
use super::input::Input;
use super::kv_cache::Past;
use super::pass::{Halt, Tap};
use crate::hook::{SiteSet, Unobserved};
use crate::{Result, bail};

impl Decoder {
    /// Everything between the last `post-mlp` and `post-final-layer-norm`: [.., d] to [.., d].
    ///
    /// # Errors
    /// Another last dimension.
    pub fn final_norm(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.on_stream(x, "final_norm")?;
        let x = match self.weights.blocks.len() {
            0 => x,
            layers => self.weights.blocks.layer(layers - 1)?.after_post_mlp(x)?,
        };
        match &self.weights.final_norm {
            Some(norm) => norm.plain(&x),
            None => Ok(x),
        }
    }

    /// From `post-final-layer-norm` to logits: [.., d] to [.., v].
    ///
    /// # Errors
    /// Another last dimension.
    pub fn unembed(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.on_stream(x, "unembed")?;
        let logits = match &self.weights.project_out {
            Some(project_out) => self.weights.unembedding.forward(&project_out.forward(&x)?)?,
            None => self.weights.unembedding.forward(&x)?,
        };
        match self.spec().logit_cap {
            Some(cap) => soft_cap(&logits, cap),
            None => Ok(logits),
        }
    }

    /// Attention's norm of one layer, of a stream x [.., d].
    ///
    /// # Errors
    /// A layer that the model does not have, another last dimension.
    pub fn attn_norm(&self, layer: usize, x: &Tensor) -> Result<Tensor> {
        let x = self.on_stream(x, "attn_norm")?;
        self.with_block(layer, |block| block.attn_norms.norm.plain(&x))
    }

    /// The MLP's norm of one layer, of a stream x [.., d].
    ///
    /// # Errors
    /// As [`attn_norm`](Self::attn_norm).
    pub fn mlp_norm(&self, layer: usize, x: &Tensor) -> Result<Tensor> {
        let x = self.on_stream(x, "mlp_norm")?;
        self.with_block(layer, |block| block.mlp_norms.norm.plain(&x))
    }

    /// One block: the stream x [b, n, d] that enters it to what the next one reads. `input` says
    /// which tokens are real.
    ///
    /// # Errors
    /// A layer that the model does not have, a stream of another shape.
    pub fn block(&self, layer: usize, x: &Tensor, input: &Input) -> Result<Tensor> {
        input.check(self.spec(), false)?;
        self.check_stream(x, input)?;
        let x = self.on_stream(x, "a block")?;
        let frames = Frames::new(self.spec(), input, self.dtype(), self.device())?;
        self.with_block(layer, |block| Ok(alone(block, layer, x, frames.layer(layer), false)?.0))
    }

    pub(super) fn on_stream(&self, x: &Tensor, what: &str) -> Result<Tensor> {
        if x.dims().last() != Some(&self.spec().hidden) {
            bail!(
                "{what} reads the residual stream [.., {}], not {:?}",
                self.spec().hidden,
                x.dims()
            );
        }
        Ok(x.to_device(self.device())?.to_dtype(self.dtype())?.contiguous()?)
    }

    /// Whether x is a stream of the input's tokens.
    pub(super) fn check_stream(&self, x: &Tensor, input: &Input) -> Result<()> {
        let expected = [input.batch(), input.len(), self.spec().hidden];
        if x.dims() != expected {
            bail!("what enters a block is [b, n, d], here {expected:?}, and not {:?}", x.dims());
        }
        Ok(())
    }
}

/// One block, with nobody looking but for what is no finite number, if asked: what it gives, and
/// where it first made such.
fn alone(
    block: &Block,
    layer: usize,
    x: Tensor,
    frame: &Frame,
    check_finite: bool,
) -> Result<(Tensor, Option<NotFinite>)> {
    let (mut nobody, wanted) = (Unobserved, SiteSet::new(layer + 1));
    let options = Options { check_finite, ..Options::default() };
    let mut tap = Tap::new(&mut nobody, wanted, &options);
    tap.layer = Some(layer);
    match block.forward(x, frame, Past::NONE, &mut tap) {
        Ok(x) | Err(Halt::Stopped(x)) => Ok((x, tap.watch.found())),
        Err(Halt::Failed(error)) => Err(error),
    }
}

/// The first point of a block that makes what is no finite number of the stream x that enters it,
/// where nobody changes anything.
///
/// # Errors
/// The device's own.
pub fn find_in(block: &Block, layer: usize, x: Tensor, frame: &Frame) -> Result<Option<NotFinite>> {
    Ok(alone(block, layer, x, frame, true)?.1)
}
