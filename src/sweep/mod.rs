//! Sweeps: one script run once for each combination of parameters, in processes of their own.
//!
//! A module imports only modules of earlier lines:
//!
//! 1. [`axis`] (the values of a parameter), [`shard`] (which part of a sweep is this process's)
//! 2. [`plan`] (the combinations)
//! 3. [`folder`] (what a sweep's directory holds)
//! 4. [`work`] (runs combinations), [`gather`] (joins what they recorded)

pub mod axis;
pub mod folder;
pub mod gather;
pub mod plan;
pub mod shard;
pub mod work;
