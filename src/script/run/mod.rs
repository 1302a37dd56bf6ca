//! What a run starts with: its settings and limits, its random number generator, and standard
//! output.

pub mod console;
pub mod limits;
pub mod policy;
pub mod random;
pub mod settings;
