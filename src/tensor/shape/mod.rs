//! Operations that move elements and change none: PyTorch's `reshape`, `permute`, `cat`, `split`,
//! `repeat`, `flip`, `roll`, `tril` and the like. A result shares its argument's storage where the
//! strides allow it.

pub mod join;
pub mod rearrange;
pub mod triangle;
pub mod view;
