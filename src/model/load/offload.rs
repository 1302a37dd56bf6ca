//! A model larger than its device's memory: the blocks' weights stay in host memory, and each
//! block's are copied while the one before it computes, so that the device holds two blocks at
//! most.

use std::sync::{Mutex, PoisonError};

use candle_core::{Device, Tensor};

use crate::Result;
use crate::model::block::Block;
use crate::tensor::transfer::upload::Lane;

pub struct Offload {
    /// What copies, and keeps the blocks' memory ready for it.
    lane: Lane,
    /// In host memory.
    blocks: Vec<Block>,
    /// The block that comes next, copied or on its way.
    ahead: Mutex<Option<(usize, Block)>>,
}

impl Offload {
    /// # Errors
    /// The device's own.
    pub fn new(blocks: Vec<Block>, device: &Device) -> Result<Self> {
        let lane = Lane::to(device)?;
        // Laid out as they will be copied: a part of a stacked weight would drag the whole along.
        let mut settle = |weight: &Tensor| lane.settle(weight);
        let blocks =
            blocks.into_iter().map(|block| block.map(&mut settle)).collect::<Result<_>>()?;
        Ok(Self { lane, blocks, ahead: Mutex::default() })
    }

    /// In host memory.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Block `layer` on the device, for what is computed there from now on. The copy of the next
    /// one begins, and runs while this one computes; after the last comes the first, of the
    /// next pass.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn layer(&self, layer: usize) -> Result<Block> {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let here = match ahead.take().filter(|(known, _)| *known == layer) {
            Some((_, block)) => block,
            None => self.send(layer)?,
        };
        self.lane.land()?;
        let next = (layer + 1) % self.blocks.len();
        *ahead = Some((next, self.send(next)?));
        Ok(here)
    }

    fn send(&self, layer: usize) -> Result<Block> {
        self.lane.follow()?;
        self.blocks[layer].map(&mut |weight| self.lane.send(weight))
    }
}
