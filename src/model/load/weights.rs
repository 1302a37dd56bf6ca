//! A model's weights, the same in every family: input first, whatever the checkpoint stores, and as
//! the equations use them.

use candle_core::Tensor;

use crate::model::attention::Heads;
use crate::model::block::Block;
use crate::model::decoder::Decoder;
use crate::model::linear::Linear;
use crate::model::norm::Norm;
use crate::model::spec::{NormKind, NormPlace};
use crate::{Result, bail};

/// A projection, input first: x · `w` + `b`.
pub struct Projection {
    /// [in, out]
    pub w: Tensor,
    /// \[out\]; zero where the family has none.
    pub b: Tensor,
}

/// One layer's MLP: act(x·w_in + b_in)·w_out + b_out, or (act(x·w_gate + b_gate) ∘ (x·w_in +
/// b_in))·w_out + b_out where it is gated.
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
    pub kind: NormKind,
    pub eps: f64,
    /// \[d\], as it is multiplied with: Gemma's checkpoints hold it less 1. Ones where the norm
    /// has no gain.
    pub w: Tensor,
    /// \[d\]; zero where there is none.
    pub b: Tensor,
}

/// One layer's norms.
pub struct BlockNorms {
    pub place: NormPlace,
    /// Attention's and the MLP's, wherever they stand.
    pub attn: NormWeights,
    pub mlp: NormWeights,
    /// Those of what attention and MLP give, before it joins the stream. Where a family norms
    /// nothing else (OLMo 2), the same ones again.
    pub post_attn: Option<NormWeights>,
    pub post_mlp: Option<NormWeights>,
}

impl Decoder {
    /// What each token brings to the stream before positions and any norm of the embeddings, [v,
    /// d]: scaled where the family scales (Gemma), projected where it projects (OPT-350m).
    ///
    /// # Errors
    /// The device's own.
    pub fn embedding(&self) -> Result<Tensor> {
        let mut table = self.weights.token_embeddings.clone();
        if let Some(scale) = self.spec().embedding_scale {
            table = (table * scale)?;
        }
        match &self.weights.project_in {
            Some(project_in) => project_in.forward(&table),
            None => Ok(table),
        }
    }

    /// From `post-final-layer-norm` to logits, [d, v]; where logits are capped, to what they are
    /// before.
    ///
    /// # Errors
    /// The device's own.
    pub fn unembedding(&self) -> Result<Projection> {
        let head = projection(&self.weights.unembedding)?;
        let w = match &self.weights.project_out {
            // [d, e] · [e, v]
            Some(project_out) => {
                project_out.weight.t()?.contiguous()?.matmul(&head.w.contiguous()?)?
            }
            None => head.w,
        };
        Ok(Projection { w, b: head.b })
    }

    /// One layer's attention projections, head by head.
    ///
    /// # Errors
    /// A layer that the model does not have.
    pub fn heads(&self, layer: usize) -> Result<Heads> {
        self.with_block(layer, |block| block.attention.heads())
    }

    /// One layer's MLP.
    ///
    /// # Errors
    /// As [`heads`](Self::heads).
    pub fn mlp(&self, layer: usize) -> Result<MlpWeights> {
        self.with_block(layer, |block| {
            let mlp = &block.mlp;
            let (input, gate) = match &mlp.up {
                Some(up) => (projection(up)?, Some(projection(&mlp.fc1)?)),
                None => (projection(&mlp.fc1)?, None),
            };
            Ok(MlpWeights { input, gate, output: projection(&mlp.fc2)? })
        })
    }

    /// One layer's norms.
    ///
    /// # Errors
    /// As [`heads`](Self::heads).
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

    /// The norm between the last `post-mlp` and the unembedding, where there is one: in OPT-350m
    /// the last block's.
    ///
    /// # Errors
    /// The device's own.
    pub fn final_norm_weights(&self) -> Result<Option<NormWeights>> {
        match (&self.weights.final_norm, self.spec().norm_place) {
            (Some(norm), _) => self.norm_weights(norm).map(Some),
            (None, NormPlace::After) => Ok(Some(self.norms(self.spec().layers - 1)?.mlp)),
            (None, _) => Ok(None),
        }
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

    pub(crate) fn with_block<T>(
        &self,
        layer: usize,
        f: impl FnOnce(&Block) -> Result<T>,
    ) -> Result<T> {
        if layer >= self.weights.blocks.len() {
            bail!("there is no layer {layer}: the model has {}", self.spec().layers);
        }
        f(&*self.weights.blocks.layer(layer)?)
    }
}

fn projection(linear: &Linear) -> Result<Projection> {
    let b = match &linear.bias {
        Some(bias) => bias.clone(),
        None => {
            Tensor::zeros(linear.weight.dim(0)?, linear.weight.dtype(), linear.weight.device())?
        }
    };
    Ok(Projection { w: linear.weight.t()?, b })
}
