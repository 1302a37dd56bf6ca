//! The keys and values of the tokens that a model has read already, so that a new token costs one
//! position.

use candle_core::Tensor;
use candle_nn::kv_cache::KvCache;

use super::input::Input;
use crate::Result;

/// One sequence's (or batch's) keys and values, as the projections gave them: what a hook makes of
/// them is not kept, so that each pass shows hooks the same past. After a pass that failed, the
/// cache is of no use.
pub struct Cache {
    layers: Vec<KvCache>,
}

impl Cache {
    /// Empty, of a model with `layers` blocks. It grows as needed, by `capacity` tokens at a time.
    pub fn new(layers: usize, capacity: usize) -> Self {
        Self { layers: (0..layers).map(|_| KvCache::new(2, capacity.max(1))).collect() }
    }

    /// How many tokens of each row it holds.
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.k_cache().current_seq_len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn clear(&mut self) {
        self.layers.iter_mut().for_each(KvCache::reset);
    }

    /// Holds other rows of the batch, in another order or several times: what beams go on with.
    ///
    /// # Errors
    /// Those of candle.
    pub fn select(&mut self, rows: &[usize]) -> Result<()> {
        if rows.iter().enumerate().all(|(at, row)| at == *row) {
            return Ok(());
        }
        let rows: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
        for layer in &mut self.layers {
            let (Some(k), Some(v)) = (layer.k()?, layer.v()?) else { continue };
            let rows = Tensor::new(rows.as_slice(), k.device())?;
            let (k, v) =
                (k.contiguous()?.index_select(&rows, 0)?, v.contiguous()?.index_select(&rows, 0)?);
            layer.reset();
            layer.append(&k, &v)?;
        }
        Ok(())
    }

    /// What a pass that reads the rest of `input` is given.
    pub fn rest_of(&self, input: &Input) -> Input {
        input.after(self.len())
    }

    pub(super) fn layer(&mut self, layer: usize) -> Past<'_> {
        Past(Some(&mut self.layers[layer]))
    }
}

/// What one layer's attention remembers, if anything.
pub struct Past<'a>(Option<&'a mut KvCache>);

impl Past<'_> {
    pub const NONE: Past<'static> = Past(None);

    /// Keys and values [b, k, n, c] of the new tokens: with all that came before, [b, k, m, c].
    pub fn append(&mut self, k: Tensor, v: Tensor) -> Result<(Tensor, Tensor)> {
        match &mut self.0 {
            None => Ok((k, v)),
            Some(cache) => Ok(cache.append(&k.contiguous()?, &v.contiguous()?)?),
        }
    }
}
