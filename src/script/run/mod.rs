//! What one run has from its start: its settings and limits, its random numbers, and standard
//! output.

pub mod console;
pub mod limits;
pub mod policy;
pub mod random;
pub mod settings;
