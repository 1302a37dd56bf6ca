//! Checkpoints: where a model's files are, how each format is read and checked, and how a
//! checkpoint is written.
//!
//! A model is inside the binary, in a local directory, or on the Hugging Face Hub. A module imports
//! only modules of earlier lines:
//!
//! 1. `files` (a checkpoint's files by name), `decode` (bytes to tensors), [`safetensors_header`]
//! 2. `safetensors`, `pickle`, `gguf` (one file of weights), `demo`
//! 3. `weights`, `tokenizer`
//! 4. [`hub`]
//! 5. `location` (what an id names)
//! 6. `open`, and `save` and `adapter` after it

mod adapter;
mod decode;
mod demo;
mod files;
mod gguf;
pub mod hub;
mod location;
mod open;
mod pickle;
mod safetensors;
pub mod safetensors_header;
mod save;
mod tokenizer;
mod weights;

pub use adapter::Adapter;
pub use demo::DEMOS;
pub use files::Bytes;
pub use hub::cache::Snapshot;
pub use hub::settings::{Hub, offline_from_env};
pub use hub::validate::{DATASETS, check_path, is_commit, is_hub_id, is_revision};
pub use location::canonical_id;
pub use open::{Checkpoint, OpenOptions, config};
pub use pickle::Pickle;
pub use save::{MAX_SHARD_BYTES, Replaced, WriteFile};
pub use tokenizer::{Stream, Tokenizer};
pub use weights::{Weights, shard_names};
