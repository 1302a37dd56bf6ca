//! Variables, gradients with regard to them, and optimisers.

mod optimiser;
mod variable;

use crate::script::declare::Registry;

/// Registers variables, their gradients, and what moves them.
pub fn install(registry: &mut Registry) {
    variable::install(registry);
    optimiser::install(registry);
}
