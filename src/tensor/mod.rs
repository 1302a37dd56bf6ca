//! What candle lacks and scripts need: bool and complex values, NumPy's broadcasting and indexing,
//! in-place writes, reductions over any dims, FFTs, linear algebra. Pure functions over [`Value`];
//! nothing here knows Rhai or a model.
//!
//! Where the contract is silent, PyTorch decides what a name means.

pub mod budget;
pub mod complex;
pub mod creation;
pub mod device;
pub mod dims;
pub mod dtype;
pub mod elementwise;
pub mod fourier;
pub mod index;
pub mod linalg;
pub mod nn;
pub mod operand;
pub mod reduce;
pub mod sampling;
pub mod summary;
pub mod transfer;
pub mod value;
pub mod weight_source;

pub use dtype::Kind;
pub use operand::{Number, Operand};
pub use value::{Complex, Value};
pub use weight_source::WeightSource;
