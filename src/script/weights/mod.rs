//! A model's weights, as scripts use them: read by name and by part ([`parts`]), replaced and
//! trained ([`change`]), drawn anew ([`reset`]), adapted ([`adapter`]), saved ([`save`]).

mod adapter;
mod adapter_config;
mod change;
mod parts;
mod reset;
pub mod save;

use std::rc::Rc;

pub use adapter::Adapters;

use crate::script::declare::Registry;
use crate::script::run::random::Random;

/// Registers what a model's weights are read and replaced by.
pub fn install(registry: &mut Registry, random: &Random, adapters: &Rc<Adapters>) {
    parts::install(registry);
    change::install(registry);
    reset::install(registry, random);
    adapter::install(registry, adapters);
}
