//! The blocks' weights: all of them where the model computes, or in host memory and copied ahead of
//! the computation.

use std::borrow::Cow;

use candle_core::Device;

use super::offload::Offload;
use crate::Result;
use crate::model::block::Block;

pub enum Blocks {
    Resident(Vec<Block>),
    Offloaded(Box<Offload>),
}

impl Blocks {
    /// Blocks in host memory, for computing on `device`.
    ///
    /// # Errors
    /// The device's own.
    pub fn offloaded(blocks: Vec<Block>, device: &Device) -> Result<Self> {
        Ok(Self::Offloaded(Box::new(Offload::new(blocks, device)?)))
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Resident(blocks) => blocks.len(),
            Self::Offloaded(offload) => offload.blocks().len(),
        }
    }

    /// Block `layer`, its weights where the model computes.
    ///
    /// # Errors
    /// There is no memory for them there.
    pub fn layer(&self, layer: usize) -> Result<Cow<'_, Block>> {
        Ok(match self {
            Self::Resident(blocks) => Cow::Borrowed(&blocks[layer]),
            Self::Offloaded(offload) => Cow::Owned(offload.layer(layer)?),
        })
    }
}
