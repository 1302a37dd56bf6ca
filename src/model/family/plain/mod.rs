//! Families whose MLP has one branch.

pub mod bloom;
pub mod falcon;
pub mod opt;
pub mod phi;
