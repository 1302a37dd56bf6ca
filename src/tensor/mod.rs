//! N-dimensional arrays for scripts: what candle's tensors lack of NumPy's and PyTorch's.
//!
//! candle has no bool and no complex dtype, no dtype promotion, no subscripts with masks and
//! integer tensors, no reductions over several dims at once, no FFT and no decompositions. This
//! module adds them as pure functions over [`Value`]. It knows neither Rhai nor a model. Where the
//! contract for scripts (`script-language.md`) leaves the meaning of a name open, PyTorch decides.
//!
//! Each layer uses only those above it:
//!
//! - [`budget`], [`device`], [`dims`], `elements`, [`transfer`]: memory limits, devices, shapes,
//!   raw elements, copies;
//! - [`value`], [`dtype`], [`operand`], [`creation`], [`random`]: the array type, its dtypes, and
//!   new arrays;
//! - `graph`: operations that bring their own derivative (what it adds up, [`reduce`] does);
//! - [`elementwise`]: functions of each element and operators with broadcasting;
//! - [`index`], [`shape`]: subscripts, gather and scatter, masks; reshape, join and rearrange;
//! - [`reduce`], [`order`]: sums, extremes, statistics, softmax; sorting and distinct elements;
//! - [`linalg`], [`fourier`], [`nn`], [`loss`]: linear algebra, FFTs, functions of neural networks;
//! - [`summary`]: the text that `print` shows; [`weight_source`]: where a model's tensors come
//!   from.

pub mod budget;
pub mod creation;
pub mod device;
pub mod dims;
pub mod dtype;
pub(crate) mod elements;
pub mod elementwise;
pub mod fourier;
pub(crate) mod graph;
pub mod index;
pub mod linalg;
pub mod loss;
pub mod nn;
pub mod operand;
pub mod order;
pub mod random;
pub mod reduce;
pub mod shape;
pub mod summary;
#[cfg(test)]
pub(crate) mod testing;
pub mod transfer;
pub mod value;
pub mod weight_source;

pub use dtype::Kind;
pub use operand::{Number, Operand};
pub use value::{Complex, Value};
pub use weight_source::WeightSource;
