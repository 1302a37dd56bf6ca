//! Loads a checkpoint's tensors into the decoder's weights.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::block_weights::Blocks;
use super::checkpoint_layout::CheckpointLayout;
use super::loader_blocks::whole;
use crate::Result;
use crate::model::family::Names;
use crate::model::linear::Linear;
use crate::model::norm::Norm;
use crate::model::spec::{Positions, Spec};
use crate::system::message::notice;
use crate::tensor::WeightSource;

/// Everything a decoder computes with. A clone shares all tensors.
#[derive(Clone)]
pub struct Weights {
    /// [v, e]
    pub token_embeddings: Tensor,
    /// [positions + offset, d], with learned positions.
    pub position_embeddings: Option<Tensor>,
    /// From the embedding size e to the hidden size d (OPT-350m).
    pub project_in: Option<Linear>,
    /// On the embeddings, before block 0 (BLOOM).
    pub embedding_norm: Option<Norm>,
    /// Attention and MLPs, with their norms.
    pub blocks: Blocks,
    /// After the last block.
    pub final_norm: Option<Norm>,
    /// From the hidden size d to the embedding size e (OPT-350m).
    pub project_out: Option<Linear>,
    /// From e to v.
    pub unembedding: Linear,
    /// Where they come from.
    pub names: Arc<CheckpointNames>,
}

/// What the names of a checkpoint's tensors stand for.
pub struct CheckpointNames {
    /// The prefixes of its names.
    pub layout: CheckpointLayout,
    /// The tensors that the decoder computes with.
    pub used: BTreeMap<String, Stored>,
    /// The tensors that the family does not use and that are no known buffers.
    pub unused: Vec<String>,
}

/// A tensor of a checkpoint that the decoder computes with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What it is.
    pub role: Role,
    /// Its shape in the checkpoint.
    pub shape: Vec<usize>,
}

/// What a tensor of a checkpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A projection's matrix.
    Matrix,
    /// The table of token embeddings.
    TokenEmbeddings,
    /// The table of position embeddings.
    PositionEmbeddings,
    /// A projection's or a norm's bias.
    Bias,
    /// A norm's gain, as the family stores it.
    Gain,
}

/// Where the blocks' weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// On the device that computes.
    Resident,
    /// In host memory, copied to the device block by block during a pass.
    Offloaded,
}

/// Makes the decoder's weights of a checkpoint's tensors. The decoder may have them already: then
/// those that come from tensors that `source` does not have are kept.
pub(super) struct Loader<'a> {
    pub spec: &'a Spec,
    pub names: &'a Names,
    pub source: &'a dyn WeightSource,
    pub layout: &'a CheckpointLayout,
    pub dtype: DType,
    pub device: &'a Device,
    /// The names of the checkpoint's tensors, if the decoder has been loaded already.
    pub known: Option<&'a CheckpointNames>,
    /// Whether the CPU computes, in float32: what is multiplied may then be in half precision.
    pub keeps_half: bool,
    /// The tensors that were loaded.
    pub used: RefCell<BTreeMap<String, Stored>>,
}

/// Loads a decoder's weights, under the names that the family's checkpoints have for them. The spec
/// says afterwards whether the unembedding is the token embeddings' matrix: where the checkpoint has
/// another, it is not, whatever the config says.
///
/// # Errors
/// A weight is missing, or its shape is not the one that the config implies.
pub fn load(
    spec: &mut Spec,
    names: &Names,
    source: &dyn WeightSource,
    dtype: DType,
    device: &Device,
    placement: Placement,
) -> Result<Weights> {
    let layout = CheckpointLayout::find(names, source)?;
    if layout.stores_both_ends(spec, names, source, dtype)? {
        spec.tied = false;
        notice(
            "note: the config ties the unembedding to the token embeddings, and the checkpoint has one that differs: the \
             stored one counts",
        );
    }
    let (known, used) = (None, RefCell::default());
    let keeps_half = placement == Placement::Resident && device.is_cpu() && dtype == DType::F32;
    let layout = &layout;
    let loader = Loader { spec, names, source, layout, dtype, device, known, keeps_half, used };
    let (blocks, loader) = match placement {
        Placement::Resident => (Blocks::Resident(loader.blocks()?), loader),
        Placement::Offloaded => {
            let host = Loader { device: &Device::Cpu, ..loader };
            let blocks = Blocks::offloaded(host.blocks()?, device)?;
            (blocks, Loader { device, ..host })
        }
    };
    let weights = loader.outer_weights(blocks, None)?;
    let (unused, used) = (loader.unused(), loader.used.into_inner());
    let names = Arc::new(CheckpointNames { layout: layout.clone(), unused, used });
    Ok(Weights { names, ..weights })
}

/// The weights `base` with those replaced that come from the tensors of `source`, which has some of
/// the checkpoint's names. Everything else is shared.
///
/// # Errors
/// A tensor has another shape than the checkpoint's.
pub fn replaced(
    base: &Weights,
    spec: &Spec,
    names: &Names,
    source: &dyn WeightSource,
    dtype: DType,
    device: &Device,
) -> Result<Weights> {
    let (layout, known) = (&base.names.layout, Some(&*base.names));
    let on = |device| {
        let used = RefCell::default();
        // A replaced weight has the dtype that a script gave it.
        let keeps_half = false;
        Loader { spec, names, source, layout, dtype, device, known, keeps_half, used }
    };
    let loader = on(device);
    let blocks = match &base.blocks {
        Blocks::Resident(blocks) => Blocks::Resident(loader.blocks_of(blocks)?),
        Blocks::Offloaded(offload) => {
            Blocks::offloaded(on(&Device::Cpu).blocks_of(offload.blocks())?, device)?
        }
    };
    let weights = loader.outer_weights(blocks, Some(base))?;
    Ok(Weights { names: base.names.clone(), ..weights })
}

impl Loader<'_> {
    fn outer_weights(&self, blocks: Blocks, base: Option<&Weights>) -> Result<Weights> {
        let Spec { hidden: d, embedding: e, vocabulary: v, max_positions, .. } = *self.spec;
        let name = |part: &str| format!("{}{part}", self.layout.prefix);
        let table = |part: &str, shape: [usize; 2], role: Role, kept: Option<&Tensor>| {
            self.single(&format!("{}.weight", name(part)), &shape, role, kept)
        };
        let tokens = self.names.token_embeddings;
        let kept = base.map(|base| &base.token_embeddings);
        let token_embeddings = table(tokens, [v, e], Role::TokenEmbeddings, kept)?;
        let position_embeddings = match (&self.spec.positions, self.names.position_embeddings) {
            (Positions::Learned { offset }, Some(name)) => {
                let kept = base.and_then(|base| base.position_embeddings.as_ref());
                let shape = [max_positions + offset, d];
                Some(table(name, shape, Role::PositionEmbeddings, kept)?)
            }
            _ => None,
        };
        let project = |part: &str, shape: [usize; 2], kept: Option<&Linear>| -> Result<Linear> {
            let weight = table(part, shape, Role::Matrix, kept.map(|kept| &kept.weight))?;
            Ok(Linear { weight, bias: None, scale: None })
        };
        let [project_in, project_out] = match self.names.project {
            Some([into, out]) if e != d => [
                Some(project(into, [d, e], base.and_then(|base| base.project_in.as_ref()))?),
                Some(project(out, [e, d], base.and_then(|base| base.project_out.as_ref()))?),
            ],
            _ => [None, None],
        };
        let embedding_norm = match self.names.embedding_norm {
            Some(part) if self.spec.embedding_norm => {
                let kept = base.and_then(|base| base.embedding_norm.as_ref());
                Some(self.norm(&name(part), &[d], kept)?)
            }
            _ => None,
        };
        let final_norm = match self.spec.final_norm {
            true => {
                let kept = base.and_then(|base| base.final_norm.as_ref());
                Some(self.norm(&name(self.names.final_norm), &[d], kept)?)
            }
            false => None,
        };
        let unembedding =
            self.unembedding(&token_embeddings, base.map(|base| &base.unembedding))?;
        Ok(Weights {
            token_embeddings,
            position_embeddings,
            project_in,
            embedding_norm,
            blocks,
            final_norm,
            project_out,
            unembedding,
            names: Arc::new(CheckpointNames {
                layout: self.layout.clone(),
                used: BTreeMap::new(),
                unused: Vec::new(),
            }),
        })
    }

    fn unembedding(&self, token_embeddings: &Tensor, kept: Option<&Linear>) -> Result<Linear> {
        let Spec { vocabulary: v, embedding: e, logit_scale: scale, .. } = *self.spec;
        let heads: Vec<String> =
            self.layout.heads.iter().map(|name| format!("{name}.weight")).collect();
        let has = |name: &&String| match self.known {
            Some(known) => known.used.contains_key(*name),
            None => self.source.contains(name),
        };
        let found = heads.iter().find(has).unwrap_or(&heads[0]);
        let stem = found.trim_end_matches(".weight");
        let kept_bias = kept.and_then(|kept| kept.bias.as_ref());
        if self.spec.tied {
            // Some checkpoints store the tied matrix under both names.
            for head in heads.iter().filter(has) {
                self.note(head, Role::TokenEmbeddings, &[v, e]);
            }
            let [bias] = self.bias(stem, self.spec.biases.unembedding, v, [kept_bias], whole)?;
            return Ok(Linear { weight: token_embeddings.clone(), bias, scale });
        }
        let kept = kept.map(|kept| &kept.weight);
        let weight = self.single(&format!("{stem}.weight"), &[v, e], Role::Matrix, kept)?;
        let [bias] = self.bias(stem, self.spec.biases.unembedding, v, [kept_bias], whole)?;
        Ok(Linear { weight, bias, scale })
    }

    fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        let is_buffer = |name: &str| self.names.buffers.iter().any(|buffer| name.ends_with(buffer));
        self.source
            .names()
            .into_iter()
            .filter(|name| !used.contains_key(name) && !is_buffer(name))
            .collect()
    }
}
