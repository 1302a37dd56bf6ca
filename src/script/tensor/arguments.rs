//! `x.flip(1)` and `x.flip(#{dim: 1})` are the same call: the common option may be given bare.

use rhai::{Dynamic, Map};

use crate::Result;
use crate::script::options::Options;

/// The options of `call` from its last argument: the map it is, or the value of the option `bare`.
///
/// # Errors
/// A name in the map that is not among `known`.
pub fn options(call: &'static str, argument: Dynamic, bare: &str, known: &[&str]) -> Result<Options> {
    let map = match argument.read_lock::<Map>() {
        Some(map) => map.clone(),
        None => Map::from([(bare.into(), argument.flatten_clone())]),
    };
    Options::new(call, map, known)
}
