//! Gradients: of every hook point against the oracle's, what scripts do with them, and the derivative
//! of each function of tensors.

mod drawn;
mod drawn_functions;
mod drawn_tensors;
mod edges;
mod functions;
mod goldens;
mod harness;
mod parts;
mod random;
mod recipes;
mod script;
mod table;
