//! Weights of a model that is larger than its device's memory. They stay in host memory, and each
//! block's are copied to the device while the block before it computes, so that the device holds the
//! weights of two blocks at most.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Tensor};

use crate::Result;
use crate::model::block::Block;
use crate::tensor::transfer::upload::CopyStream;

/// The blocks' weights in host memory, and the copy of the next block's.
pub struct Offload {
    /// Copies to the device, and keeps the host memory in a form that can be copied fast.
    stream: CopyStream,
    /// Their weights are in host memory.
    blocks: Vec<Arc<Block>>,
    /// The next block and its index: its weights are on the device or being copied.
    ahead: Mutex<Option<(usize, Block)>>,
}

impl Offload {
    /// # Errors
    /// The host memory cannot be prepared for copies to `device`.
    pub fn new(blocks: Vec<Arc<Block>>, device: &Device) -> Result<Self> {
        let stream = CopyStream::to(device)?;
        // A view into a stacked weight is copied out, since a transfer moves its whole storage.
        let mut settle = |weight: &Tensor| stream.settle(weight);
        let blocks = blocks
            .iter()
            .map(|block| Ok(Arc::new(block.map(&mut settle)?)))
            .collect::<Result<_>>()?;
        Ok(Self { stream, blocks, ahead: Mutex::default() })
    }

    /// The blocks with their weights in host memory.
    pub fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// Block `layer` with its weights on the device, for computations that are queued there after
    /// this call. The copy of the next block's weights begins and overlaps with them; after the last
    /// block comes the first, for the next pass.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn layer(&self, layer: usize) -> Result<Block> {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let here = match ahead.take().filter(|(known, _)| *known == layer) {
            Some((_, block)) => block,
            None => self.send(layer)?,
        };
        self.stream.land()?;
        let next = (layer + 1) % self.blocks.len();
        *ahead = Some((next, self.send(next)?));
        Ok(here)
    }

    fn send(&self, layer: usize) -> Result<Block> {
        self.stream.follow()?;
        self.blocks[layer].map(&mut |weight| self.stream.send(weight))
    }
}
