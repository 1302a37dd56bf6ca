//! Fingerprints: SHA-256 digests that tell whether a value, or a function with all that it may
//! call, is the same as before, and whether calling the function does nothing but compute.

pub mod function;
pub mod hasher;
pub mod purity;
pub mod reachable;
pub mod value;
pub mod visible;
