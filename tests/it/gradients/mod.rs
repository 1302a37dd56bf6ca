//! Gradients: of every hook point against the oracle's, what scripts do with them, and the derivative
//! of each function of tensors.

mod edges;
mod functions;
mod goldens;
mod harness;
mod parts;
mod recipes;
mod script;
mod table;
