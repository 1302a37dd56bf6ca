//! The Hugging Face Hub: requests, checks of what servers answer, the cache on disk, downloads and
//! uploads.
//!
//! A module imports only modules of earlier lines:
//!
//! 1. [`validate`] (ids, revisions and paths), `hash`, [`settings`], `progress`
//! 2. [`response`] (parses and checks what a server sends)
//! 3. `client` (HTTP), [`cache`] (reads the cache)
//! 4. `repository` (writes into the cache), [`verify`]
//! 5. `download` (one commit's files)
//! 6. `fetch`, `upload` (what the rest of the crate calls, as methods of [`settings::Hub`])

pub mod cache;
mod client;
mod download;
mod fetch;
mod hash;
mod progress;
mod repository;
pub mod response;
pub mod settings;
mod upload;
pub(crate) mod validate;
pub mod verify;
