//! Names and syntax of PyTorch, NumPy, TransformerLens and Python, and what they are called here.
//! They are looked up only after something has failed, for its help.

mod names;
mod writings;

pub use names::{NAMES, On, name, option};
pub use writings::{WRITINGS, divides, writing};
