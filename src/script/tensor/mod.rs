//! Tensors in scripts, and the numbers and arrays beside them: one file a group of the contract's
//! operations, each with one `install`.

pub mod arguments;
pub mod arrays;
pub mod convert;
pub mod creation;
mod dedup;
pub mod functions;
pub mod gather;
pub mod index;
pub mod inspect;
pub mod linalg;
pub mod nn;
pub mod numbers;
pub mod operators;
pub mod reduce;
pub mod shape;
pub mod sort;
pub mod spectra;

use super::run::random::Random;
use super::value::{Handle, Masks, handle, record};

/// Makes the tensor type and all its operations known to `engine`; `random` is what `rand` and
/// `randn` draw from.
pub fn install(engine: &mut rhai::Engine, random: &Random) {
    install_pure(engine);
    creation::install_random(engine, random);
}

/// All operations that draw no random numbers.
pub fn install_pure(engine: &mut rhai::Engine) {
    arrays::install(engine);
    record::install(engine);
    convert::install(engine);
    dedup::install(engine);
    handle::mask::install(engine);
    functions::install(engine);
    index::install(engine);
    linalg::install(engine);
    inspect::install(engine);
    creation::install(engine);
    nn::install(engine);
    numbers::install(engine);
    operators::install(engine);
    gather::install(engine);
    reduce::install(engine);
    shape::install(engine);
    sort::install(engine);
    spectra::install(engine);
}
