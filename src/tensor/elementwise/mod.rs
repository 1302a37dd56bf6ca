//! Functions of each element and operators between broadcast tensors: PyTorch's pointwise and
//! comparison operations, NumPy's ufuncs.

pub mod arithmetic;
mod candle_ops;
pub mod comparison;
pub mod complex;
mod complex_arithmetic;
mod derivatives;
pub mod diff;
pub mod finite;
pub mod function;
pub mod integer;
pub mod logic;
pub mod loops;
pub mod piecewise;
