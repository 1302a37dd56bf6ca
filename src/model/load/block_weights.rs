//! The blocks with their weights, on the device or offloaded to host memory.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::Device;

use super::offload::Offload;
use crate::Result;
use crate::model::block::Block;

/// The blocks of a decoder. A clone shares their weights.
#[derive(Clone)]
pub enum Blocks {
    /// Their weights are on the device.
    Resident(Vec<Arc<Block>>),
    /// Their weights are in host memory and copied when they are needed.
    Offloaded(Arc<Offload>),
}

impl Blocks {
    /// Offloads blocks whose weights are in host memory, to compute on `device`.
    ///
    /// # Errors
    /// Those of [`Offload::new`].
    pub fn offloaded(blocks: Vec<Arc<Block>>, device: &Device) -> Result<Self> {
        Ok(Self::Offloaded(Arc::new(Offload::new(blocks, device)?)))
    }

    /// The number of blocks.
    pub fn len(&self) -> usize {
        match self {
            Self::Resident(blocks) => blocks.len(),
            Self::Offloaded(offload) => offload.blocks().len(),
        }
    }

    /// Block `layer`, with its weights on the device.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn layer(&self, layer: usize) -> Result<Cow<'_, Block>> {
        Ok(match self {
            Self::Resident(blocks) => Cow::Borrowed(&blocks[layer]),
            Self::Offloaded(offload) => Cow::Owned(offload.layer(layer)?),
        })
    }
}
