//! The Hugging Face Hub: requests, answers that are checked, the cache on disk, downloads and
//! uploads.

pub mod answers;
pub mod cache;
mod client;
mod download;
mod fetch;
mod hash;
pub(crate) mod names;
pub(crate) mod settings;
mod upload;
pub mod verify;
