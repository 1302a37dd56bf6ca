//! Families whose MLP has one branch.

pub mod bloom;
pub mod falcon;
pub mod nemotron;
pub mod opt;
pub mod persimmon;
pub mod phi;
pub mod starcoder2;
