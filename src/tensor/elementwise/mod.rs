//! Functions of each element, and operators between tensors.

pub mod arithmetic;
pub mod comparison;
pub mod finite;
mod float32;
pub mod function;
pub mod integer;
pub mod loops;
