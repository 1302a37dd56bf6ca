//! What people bring from PyTorch, NumPy, TransformerLens and Python, and how it is said here: one
//! table of names, and one of ways of writing. They are asked only once something has failed.

mod names;
mod writings;

pub use names::{NAMES, On, name, option};
pub use writings::{WRITINGS, divides, writing};
