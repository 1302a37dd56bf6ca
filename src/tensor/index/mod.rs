//! Choosing and writing elements: subscripts (`x[..]`), `narrow`, `select`, `index_select`,
//! `gather`, `scatter`, `masked_fill`, `where`, `nonzero` and `unravel_index`, as in PyTorch. Subscripts with
//! several integer or bool tensors follow NumPy's advanced indexing.

pub mod gather;
mod ids;
pub mod masked;
pub mod pending_write;
pub mod select;
pub mod selection;
pub mod subscript;
pub mod unravel;
