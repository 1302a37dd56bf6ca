//! Data sets and activations: rows of files, read as they go, and stores of tensors on disk.
//!
//! A module imports only modules of earlier lines:
//!
//! 1. [`selection`] (which items of a sequence), [`hub_reference`] (files of the Hub)
//! 2. [`rows`] (files of rows), [`store`] (tensors on disk)
//! 3. [`layout`] (the files of a data set on the Hub)

pub mod hub_reference;
pub mod layout;
pub mod rows;
pub mod selection;
pub mod store;
