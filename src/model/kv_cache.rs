//! The cache of keys and values of tokens that a model has read, so that a step of generation
//! computes the new token only.

use candle_core::Tensor;
use candle_nn::kv_cache::KvCache;

use super::input::Input;
use crate::Result;

/// The keys and values of a batch, for every layer. They are stored before hooks see them, so that
/// a hook meets the same past in every pass. After a pass that failed the cache must be discarded:
/// its layers may hold different numbers of tokens.
pub struct Cache {
    layers: Vec<KvCache>,
}

impl Cache {
    /// An empty cache for a model with `layers` blocks. It allocates room for `capacity` tokens at a
    /// time.
    pub fn new(layers: usize, capacity: usize) -> Self {
        Self { layers: (0..layers).map(|_| KvCache::new(2, capacity.max(1))).collect() }
    }

    /// How many tokens of each row are cached.
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.k_cache().current_seq_len())
    }

    /// Whether no token is cached.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all tokens.
    pub fn clear(&mut self) {
        self.layers.iter_mut().for_each(KvCache::reset);
    }

    /// Replaces the batch by the given rows of it; a row may be taken several times. Beam search
    /// continues its best beams so.
    ///
    /// # Errors
    /// candle's.
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

    /// `input`, with the tokens that are cached marked as past.
    pub fn rest_of(&self, input: &Input) -> Input {
        input.after(self.len())
    }

    pub(super) fn layer(&mut self, layer: usize) -> Past<'_> {
        Past(Some(&mut self.layers[layer]))
    }
}

/// One layer's part of a cache, or [`NONE`](Self::NONE) in a pass without a cache.
pub struct Past<'a>(Option<&'a mut KvCache>);

impl Past<'_> {
    /// No cache.
    pub const NONE: Past<'static> = Past(None);

    /// Whether there is no cache.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Caches the keys and values [b, k, n, c] of the new tokens, and gives those of all tokens,
    /// [b, k, m, c].
    pub fn append(&mut self, k: Tensor, v: Tensor) -> Result<(Tensor, Tensor)> {
        match &mut self.0 {
            None => Ok((k, v)),
            Some(cache) => Ok(cache.append(&k.contiguous()?, &v.contiguous()?)?),
        }
    }
}
