//! Variables, and gradients with regard to them.

mod variable;

pub use variable::install;
