//! What candle lacks and scripts need: bool and complex values, NumPy's broadcasting and indexing, in-place writes,
//! reductions over any dims, FFTs, linear algebra. Pure functions over [`Value`]; nothing here knows Rhai or a model.
//!
//! Where the contract is silent, PyTorch decides what a name means.

mod accumulator;
pub mod arithmetic;
pub mod budget;
pub mod comparison;
pub mod complex;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod device;
mod dft;
pub mod diagonal;
pub mod dims;
pub mod dtype;
pub mod einsum;
mod elementwise;
pub mod fft;
pub mod finite;
pub mod fit;
mod float;
mod fold;
pub mod frequency;
pub mod function;
mod half_precision;
pub mod index;
pub mod integer;
pub mod kernel;
pub mod lane;
pub mod linalg;
mod lines;
pub mod make;
pub mod matmul;
pub mod nn;
mod on_device;
pub mod operand;
mod overwrite;
pub mod pick;
pub mod products;
pub mod reduce;
pub mod sample;
pub mod shape;
pub mod softmax;
pub mod sorting;
mod spectra;
pub mod square;
pub mod statistics;
pub mod summary;
pub mod unique;
pub mod value;

pub use dtype::Kind;
pub use operand::{Number, Operand};
pub use value::{Complex, Value};
