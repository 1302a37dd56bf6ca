//! Single components of the decoder, applied to a residual stream that the caller has.

use candle_core::{DType, Tensor};

use super::attention_inputs::{AttentionInputs, LayerInputs};
use super::block::Block;
use super::decoder::{Decoder, Options};
use super::finite::NotFinite;
use super::input::Input;
use super::kv_cache::Past;
use super::load::loader::Weights;
use super::tap::{Halt, Tap};
use crate::hook::{SiteSet, Unobserved};
use crate::kernel::cap::soft_cap;
use crate::{Result, bail};

impl Decoder {
    /// Applies what lies between the last `post-mlp` and `post-final-layer-norm`: the final norm, or
    /// the last block's in a post-norm model. [.., d] to [.., d].
    ///
    /// # Errors
    /// The last dimension is not d.
    pub fn final_norm(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.on_stream(x, "final_norm", self.own_dtype())?;
        let weights = self.weights()?;
        let x = match weights.blocks.len() {
            0 => x,
            layers => weights.blocks.layer(layers - 1)?.after_post_mlp(x)?,
        };
        match &weights.final_norm {
            Some(norm) => norm.plain(&x),
            None => Ok(x),
        }
    }

    /// Applies the unembedding, from `post-final-layer-norm` to logits: [.., d] to [.., v].
    ///
    /// # Errors
    /// The last dimension is not d.
    pub fn unembed(&self, x: &Tensor) -> Result<Tensor> {
        self.to_logits(&*self.weights()?, &self.on_stream(x, "unembed", self.own_dtype())?)
    }

    /// [.., d] to [.., v], in the dtype of x.
    pub(super) fn to_logits(&self, weights: &Weights, x: &Tensor) -> Result<Tensor> {
        let logits = match &weights.project_out {
            Some(project_out) => weights.unembedding.forward(&project_out.forward(x)?)?,
            None => weights.unembedding.forward(x)?,
        };
        match self.spec().logit_cap {
            Some(cap) => Ok(soft_cap(&logits, cap)?),
            None => Ok(logits),
        }
    }

    /// Applies attention's norm of one layer, [.., d] to [.., d].
    ///
    /// # Errors
    /// The model does not have the layer, or the last dimension is not d.
    pub fn attn_norm(&self, layer: usize, x: &Tensor) -> Result<Tensor> {
        let x = self.on_stream(x, "attn_norm", self.own_dtype())?;
        self.with_block(layer, |block| block.attn_norms.norm.plain(&x))
    }

    /// Applies the MLP's norm of one layer, [.., d] to [.., d].
    ///
    /// # Errors
    /// The model does not have the layer, or the last dimension is not d.
    pub fn mlp_norm(&self, layer: usize, x: &Tensor) -> Result<Tensor> {
        let x = self.on_stream(x, "mlp_norm", self.own_dtype())?;
        self.with_block(layer, |block| block.mlp_norms.norm.plain(&x))
    }

    /// Runs one block on the residual stream x [b, n, d] of the tokens of `input`, without hooks.
    /// [b, n, d] to [b, n, d].
    ///
    /// # Errors
    /// The model does not have the layer, it cannot read the input, or x has another shape.
    pub fn block(&self, layer: usize, x: &Tensor, input: &Input) -> Result<Tensor> {
        input.check(self.spec(), false)?;
        self.check_stream(x, input)?;
        let x = self.on_stream(x, "a block", self.own_dtype())?;
        let attention_inputs =
            AttentionInputs::new(self.spec(), input, self.own_dtype(), self.device())?;
        self.with_block(layer, |block| {
            Ok(alone(block, layer, x, attention_inputs.layer(layer), false)?.0)
        })
    }

    /// The dtype in which a component computes.
    fn own_dtype(&self) -> DType {
        self.dtype_of_pass(&Options::default())
    }

    /// A residual stream [.., d] on the model's device, in its dtype; `what` reads it.
    ///
    /// # Errors
    /// The last dimension is not d.
    pub(super) fn on_stream(&self, x: &Tensor, what: &str, dtype: DType) -> Result<Tensor> {
        if x.dims().last() != Some(&self.spec().hidden) {
            bail!(
                "{what} reads the residual stream [.., {}], not {:?}",
                self.spec().hidden,
                x.dims()
            );
        }
        Ok(x.to_device(self.device())?.to_dtype(dtype)?.contiguous()?)
    }

    /// Checks that x is a residual stream [b, n, d] of the input's tokens.
    ///
    /// # Errors
    /// It has another shape.
    pub(super) fn check_stream(&self, x: &Tensor, input: &Input) -> Result<()> {
        let expected = [input.batch(), input.len(), self.spec().hidden];
        if x.dims() != expected {
            bail!("what enters a block is [b, n, d], here {expected:?}, and not {:?}", x.dims());
        }
        Ok(())
    }
}

/// Runs one block without hooks and without a cache: its output, and with `check_finite` the first
/// point that is not finite.
fn alone(
    block: &Block,
    layer: usize,
    x: Tensor,
    inputs: &LayerInputs,
    check_finite: bool,
) -> Result<(Tensor, Option<NotFinite>)> {
    let (mut observer, wanted) = (Unobserved, SiteSet::new(layer + 1));
    let options = Options { check_finite, ..Options::default() };
    let mut tap = Tap::new(&mut observer, wanted, &options);
    tap.layer = Some(layer);
    match block.forward(x, inputs, Past::NONE, &mut tap) {
        Ok(x) | Err(Halt::Stopped(x)) => Ok((x, tap.watch.found())),
        Err(Halt::Failed(error)) => Err(error),
    }
}

/// Runs one block on the stream x without hooks to find the first point that is not finite.
///
/// # Errors
/// candle's.
pub fn first_not_finite(
    block: &Block,
    layer: usize,
    x: Tensor,
    inputs: &LayerInputs,
) -> Result<Option<NotFinite>> {
    Ok(alone(block, layer, x, inputs, true)?.1)
}
