//! The Hugging Face Hub: requests, checks of what servers answer, the cache on disk, downloads and
//! uploads.
//!
//! A module imports only modules of earlier lines:
//!
//! 1. `validate` (ids, revisions and paths), `hash`, [`environment`] and [`settings`], `progress`
//! 2. `response` (parses and checks what a server sends)
//! 3. `client` (HTTP), [`cache`] (reads the cache)
//! 4. `repository` (writes into the cache), `verify`
//! 5. `download` (one commit's files), `large_file` (uploads apart from git)
//! 6. `fetch`, `upload` (what the rest of the crate calls, as methods of [`settings::Hub`]); in
//!    their place `cache_only` in a build without the feature `hub`, which has nothing that fetches

pub mod cache;
#[cfg(not(feature = "hub"))]
mod cache_only;
#[cfg(feature = "hub")]
mod client;
#[cfg(feature = "hub")]
mod download;
pub mod environment;
#[cfg(feature = "hub")]
mod fetch;
#[cfg(feature = "hub")]
mod hash;
#[cfg(feature = "hub")]
mod large_file;
#[cfg(feature = "hub")]
mod progress;
#[cfg(feature = "hub")]
mod repository;
#[cfg(feature = "hub")]
pub mod response;
pub mod settings;
#[cfg(feature = "hub")]
mod upload;
pub(crate) mod validate;
#[cfg(feature = "hub")]
pub mod verify;
