//! Tensors in scripts, and the functions of numbers and arrays that go with them. Each file
//! registers one group of functions.

mod along_dim;
pub mod arguments;
mod arrays;
mod complex;
mod convert;
mod creation;
mod dedup;
mod functions;
mod gather;
mod index;
mod inspect;
mod linalg;
mod nn;
pub mod numbers;
mod operators;
pub mod reduce;
mod shape;
mod sort;
mod spectra;

use rhai::Engine;

use super::declare::Registry;
use super::run::random::Random;
use super::value::{Handle, Masks, graph, handle, record};

/// Configures an engine as the functions of tensors need it: `var` is a name, and the operators of
/// numbers are those of [`numbers`].
pub fn configure(engine: &mut Engine) {
    numbers::configure(engine);
    reduce::configure(engine);
}

/// Registers tensors and all their operations, in the order of the reference; `random` is what
/// `rand` and `randn` draw from.
pub fn install(registry: &mut Registry, random: &Random) {
    creation::install(registry, random);
    inspect::install(registry);
    index::install(registry);
    gather::install(registry);
    shape::install(registry);
    operators::install(registry);
    functions::install(registry);
    numbers::install(registry);
    complex::install(registry);
    convert::install(registry);
    reduce::install(registry);
    nn::install(registry);
    linalg::install(registry);
    spectra::install(registry);
    arrays::install(registry);
    sort::install(registry);
    dedup::install(registry);
    record::install(registry);
}

/// An engine with tensors, numbers and arrays, but without models, hooks and files.
pub fn engine(random: &Random) -> Engine {
    let mut engine = Engine::new();
    configure(&mut engine);
    let mut registry = Registry::new(engine, &[], graph::GRAPH);
    install(&mut registry, random);
    registry.finish()
}
