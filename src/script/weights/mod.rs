//! A model's weights, as scripts use them: read by name and by part ([`parts`]), replaced and
//! trained ([`change`]), drawn anew ([`reset`]), saved ([`save`]).

mod change;
mod parts;
mod reset;
pub mod save;

use crate::script::declare::Registry;
use crate::script::run::random::Random;

/// Registers what a model's weights are read and replaced by.
pub fn install(registry: &mut Registry, random: &Random) {
    parts::install(registry);
    change::install(registry);
    reset::install(registry, random);
}
