//! Gradients: of every hook point against the oracle's, and what scripts do with them.

mod goldens;
mod script;
