//! Access to a model's weights in one form for every family: matrices are [in, out], whatever the
//! checkpoint's layout, and have the values that the equations use.

use candle_core::Tensor;

use crate::model::attention::Heads;
use crate::model::block::Block;
use crate::model::decoder::Decoder;
use crate::model::linear::Linear;
use crate::model::mlp::Mlp;
use crate::model::norm::Norm;
use crate::model::spec::{NormKind, NormPlace};
use crate::{Result, bail, error};

/// A projection: x · `w` + `b`.
pub struct Projection {
    /// [in, out]
    pub w: Tensor,
    /// \[out\]; zeros if the family has no bias here.
    pub b: Tensor,
}

/// One layer's MLP: act(x·w_in + b_in)·w_out + b_out, or if it is gated
/// (act(x·w_gate + b_gate) ∘ (x·w_in + b_in))·w_out + b_out.
pub struct MlpWeights {
    /// [d, f]
    pub input: Projection,
    /// [d, f]
    pub gate: Option<Projection>,
    /// [f, d]
    pub output: Projection,
}

/// A norm: (x − mean) / √(variance + eps) · `w` + `b`, or x / √(mean square + eps) · `w`.
pub struct NormWeights {
    /// The equation.
    pub kind: NormKind,
    /// The number under the square root.
    pub eps: f64,
    /// The gain \[d\] as the equation has it (Gemma's checkpoints store it minus 1); ones if the norm
    /// has none.
    pub w: Tensor,
    /// The bias \[d\]; zeros if the norm has none.
    pub b: Tensor,
}

/// One layer's norms.
pub struct BlockNorms {
    /// Where `attn` and `mlp` are applied.
    pub place: NormPlace,
    /// Attention's norm.
    pub attn: NormWeights,
    /// The MLP's norm.
    pub mlp: NormWeights,
    /// The norm of attention's output, if the family has one before the output joins the residual
    /// stream. In families that have no other (OLMo 2) it is `attn` again.
    pub post_attn: Option<NormWeights>,
    /// The same for the MLP.
    pub post_mlp: Option<NormWeights>,
}

impl Decoder {
    /// The token embeddings as they enter the residual stream, before positions and any norm,
    /// [v, d]: multiplied by the family's scale (Gemma) and projected to the hidden size (OPT-350m).
    ///
    /// # Errors
    /// candle's.
    pub fn embedding(&self) -> Result<Tensor> {
        let weights = self.weights()?;
        let mut table = weights.token_embeddings.to_dtype(self.dtype())?;
        if let Some(scale) = self.spec().embedding_scale {
            table = (table * scale)?;
        }
        match &weights.project_in {
            Some(project_in) => project_in.forward(&table),
            None => Ok(table),
        }
    }

    /// The map from `post-final-layer-norm` to the logits before any soft cap, [d, v].
    ///
    /// # Errors
    /// candle's.
    pub fn unembedding(&self) -> Result<Projection> {
        let weights = self.weights()?;
        let head = self.projection(&weights.unembedding)?;
        let w = match &weights.project_out {
            // [d, e] · [e, v]
            Some(project_out) => {
                let out = project_out.weight.to_dtype(self.dtype())?;
                out.t()?.contiguous()?.matmul(&head.w.contiguous()?)?
            }
            None => head.w,
        };
        Ok(Projection { w, b: head.b })
    }

    /// One layer's attention projections, head by head.
    ///
    /// # Errors
    /// The model does not have the layer.
    pub fn heads(&self, layer: usize) -> Result<Heads> {
        self.with_block(layer, |block| block.attention.heads(self.dtype()))
    }

    /// One layer's MLP.
    ///
    /// # Errors
    /// The model does not have the layer.
    pub fn mlp(&self, layer: usize) -> Result<MlpWeights> {
        self.with_block(layer, |block| {
            let Mlp::Dense(mlp) = &block.mlp else {
                return Err(error!("the MLP of layer {layer} is a mixture of experts, with no matrices of its own")
                    .help("m.weights(\"*expert*\") has the experts' by their names, and m.weight(name) one"));
            };
            let (input, gate) = match &mlp.up {
                Some(up) => (self.projection(up)?, Some(self.projection(&mlp.fc1)?)),
                None => (self.projection(&mlp.fc1)?, None),
            };
            Ok(MlpWeights { input, gate, output: self.projection(&mlp.fc2)? })
        })
    }

    /// One layer's norms.
    ///
    /// # Errors
    /// The model does not have the layer.
    pub fn norms(&self, layer: usize) -> Result<BlockNorms> {
        self.with_block(layer, |block| {
            let weights = |norm: &Norm| self.norm_weights(norm);
            let post = |norms: &crate::model::block::Norms| match (&norms.output, norms.place) {
                (Some(output), _) => weights(output).map(Some),
                (None, NormPlace::Outputs) => weights(&norms.norm).map(Some),
                _ => Ok(None),
            };
            Ok(BlockNorms {
                place: self.spec().norm_place,
                attn: weights(&block.attn_norms.norm)?,
                mlp: weights(&block.mlp_norms.norm)?,
                post_attn: post(&block.attn_norms)?,
                post_mlp: post(&block.mlp_norms)?,
            })
        })
    }

    /// The norm between the last `post-mlp` and the unembedding: the final norm, or the last block's
    /// in a post-norm model (OPT-350m). `None` if there is neither.
    ///
    /// # Errors
    /// candle's.
    pub fn final_norm_weights(&self) -> Result<Option<NormWeights>> {
        match (&self.weights()?.final_norm, self.spec().norm_place) {
            (Some(norm), _) => self.norm_weights(norm).map(Some),
            (None, NormPlace::After) => Ok(Some(self.norms(self.spec().layers - 1)?.mlp)),
            (None, _) => Ok(None),
        }
    }

    fn projection(&self, linear: &Linear) -> Result<Projection> {
        let dtype = self.dtype();
        Ok(Projection {
            w: linear.whole_weight(dtype)?.t()?,
            b: linear.whole_bias()?.to_dtype(dtype)?,
        })
    }

    fn norm_weights(&self, norm: &Norm) -> Result<NormWeights> {
        let d = self.spec().hidden;
        let w = match &norm.weight {
            Some(weight) => weight.clone(),
            None => Tensor::ones(d, self.dtype(), self.device())?,
        };
        let b = match &norm.bias {
            Some(bias) => bias.clone(),
            None => Tensor::zeros(d, self.dtype(), self.device())?,
        };
        Ok(NormWeights { kind: norm.kind, eps: norm.eps, w, b })
    }

    /// Calls `f` with block `layer`, its weights on the device.
    ///
    /// # Errors
    /// The model does not have the layer, or `f` fails.
    pub(crate) fn with_block<T>(
        &self,
        layer: usize,
        f: impl FnOnce(&Block) -> Result<T>,
    ) -> Result<T> {
        let weights = self.weights()?;
        if layer >= weights.blocks.len() {
            bail!("there is no layer {layer}: the model has {}", self.spec().layers);
        }
        f(&*weights.blocks.layer(layer)?)
    }
}
