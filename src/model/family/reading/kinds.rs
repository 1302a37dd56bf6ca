//! Rotary embeddings that differ between layers with a sliding window and layers without.

use super::rotary::{OddPart, rotary_scaling, rotary_spec, scaled};
use crate::model::load::config::{Allowed, Fields};
use crate::model::spec::{Pairs, RotarySpec};
use crate::{Result, bail};

/// The rotary embeddings of the layers without a window, then those of the layers with one.
/// `rope_parameters` (since transformers 5) has a map for each kind of layer; older configs have
/// `rope_scaling`, of the layers without a window, and a field for the base of each kind, whose name
/// (empty if there is none) is given with the base if no field has it.
pub fn rotaries_by_kind(
    config: &Fields,
    head_dim: usize,
    bases: [(&'static str, f64); 2],
) -> Result<[RotarySpec; 2]> {
    let older = config.nested("rope_scaling")?;
    let kinds = config.nested("rope_parameters")?;
    if older.is_some() && kinds.is_some() {
        bail!(
            "config.json has rope_scaling and rope_parameters, which say the same: leave out one"
        );
    }
    let one = |kind: &'static str, older: Option<Fields>, (name, default): (&'static str, f64)| {
        let of_kind = kinds.as_ref().map(|kinds| kinds.nested(kind)).transpose()?.flatten();
        let map = of_kind.or(older);
        let given = match &map {
            Some(map) => map.given_number("rope_theta", Allowed::THETA)?,
            None => None,
        };
        let theta = match given {
            Some(theta) => theta,
            None if name.is_empty() => default,
            None => config.given_number(name, Allowed::THETA)?.unwrap_or(default),
        };
        config.ignore(&[name]);
        let scaling = match &map {
            Some(map) => rotary_scaling(config, map, false)?,
            None => None,
        };
        if let Some(map) = &map {
            let part = map.given_number("partial_rotary_factor", Allowed::PART)?;
            if scaling.is_some() && part.is_some_and(|part| part != 1.0) {
                bail!("config.json: partial_rotary_factor can't be honoured in this family");
            }
            map.finish_rotary();
        }
        let spec = rotary_spec(head_dim, head_dim, OddPart::Refused, theta, Pairs::Halves)?;
        scaled(spec, scaling)
    };
    let both = [one("full_attention", older, bases[0])?, one("sliding_attention", None, bases[1])?];
    if let Some(kinds) = &kinds {
        kinds.finish_rotary();
    }
    Ok(both)
}
