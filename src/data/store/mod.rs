//! Stores: tensors by name on disk, whose first dims are rows of one length, in shards.
//!
//! A store is a folder with shards `shard-00000.safetensors`, … and, once it is finished, `index.json`
//! that lists them. Each shard appears whole or not at all, and says in its metadata how many rows
//! it has and how many units of the writer's work are in it, so that a store that was broken off is
//! gone on with from its shards alone.

pub mod reader;
pub mod shuffle;
pub mod writer;

use std::collections::BTreeMap;

use safetensors::Dtype;
use serde::{Deserialize, Serialize};

use crate::{Result, bail};

/// The file that lists a finished store's shards.
pub const INDEX: &str = "index.json";

/// The key of a shard's metadata under which [`ShardInfo`] stands as JSON.
pub const METADATA: &str = "store";

/// The key under which [`Captured`] stands as JSON, in the metadata of a shard with captures.
pub const CAPTURED: &str = "captured";

/// The version of this layout.
pub const VERSION: u32 = 1;

/// The most shards of a store.
pub const MAX_SHARDS: usize = 1_000_000;

/// The name of a shard's file.
pub fn shard_name(number: usize) -> String {
    format!("shard-{number:05}.safetensors")
}

/// What a shard holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShardInfo {
    /// How many rows.
    pub rows: u64,
    /// How many units of the writer's work: appends, or items of what `remaining` went through.
    pub units: u64,
    /// The SHA-256 of the tensors' data, in hexadecimal digits.
    pub sha256: String,
    /// The digest of what wrote it: script, parameters, models.
    pub of: String,
    /// The captures in it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub captures: Vec<Capture>,
}

/// One capture among a store's rows: a row for each position of a batch of token ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    /// The digest of the token ids and their mask.
    pub ids: String,
    /// The rows of the batch.
    pub batch: u64,
    /// The positions of each.
    pub positions: u64,
}

/// What the captures of a store are of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Captured {
    /// The digest of the model, of how it computes, and of the program.
    pub model: String,
    /// The layers that were captured of each point; none for a point outside of layers.
    pub points: BTreeMap<String, Vec<u64>>,
}

/// The tensor of one name: the dtype and the shape of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// The dtype as .safetensors names it.
    pub dtype: Dtype,
    /// The shape without the first dim.
    pub shape: Vec<usize>,
}

impl Column {
    /// The bytes of a row.
    ///
    /// # Errors
    /// They are more than a number holds, or the dtype has no whole bytes.
    pub fn row_bytes(&self) -> Result<usize> {
        let bits = self.dtype.bitsize();
        let elements = self.shape.iter().try_fold(1usize, |product, n| product.checked_mul(*n));
        match elements.and_then(|elements| elements.checked_mul(bits / 8)) {
            Some(bytes) if bits.is_multiple_of(8) && isize::try_from(bytes).is_ok() => Ok(bytes),
            _ => bail!("rows {:?} of {:?} can't be read", self.shape, self.dtype),
        }
    }
}

/// What `index.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// [`VERSION`].
    pub store: u32,
    /// How many rows all shards have.
    pub rows: u64,
    /// The tensors by name.
    pub columns: BTreeMap<String, Column>,
    /// What the captures in it are of, if it holds captures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured: Option<Captured>,
    /// The shards, in order.
    pub shards: Vec<ShardInfo>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_has_one_name() {
        assert_eq!(shard_name(7), "shard-00007.safetensors");
        assert_eq!(shard_name(123_456), "shard-123456.safetensors");
    }
}
