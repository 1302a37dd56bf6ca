//! Rotary embeddings from any of the fields that configs have for them, read as transformers'
//! `modeling_rope_utils.py` reads them: `rope_scaling`, or else `rope_parameters` (since transformers
//! 5), with what they leave out in fields of the config itself.

use crate::model::load::config::{Allowed, Fields};
use crate::model::rotary::yarn;
use crate::model::spec::{Pairs, RotaryScaling, RotarySpec};
use crate::{Result, bail, error};

/// How a family reads its rotary embeddings.
pub struct Rule {
    /// The field of the config itself that has the base of the frequencies.
    pub theta: &'static str,
    /// The base if no field has it.
    pub default_theta: f64,
    /// How much of each head is rotated.
    pub part: Part,
    /// Which dimensions are rotated together.
    pub pairs: Pairs,
    /// Whether LongRoPE is the only scaling, and `su` and `yarn` are older names of it (Phi-3).
    pub only_long_rope: bool,
}

/// How much of each head is rotated.
pub enum Part {
    /// All of it, whatever a field says.
    Whole,
    /// The share in the field `name`, or in the map of rotary embeddings in `partial_rotary_factor`.
    Share {
        /// A field of the config itself.
        name: &'static str,
        /// The share if no field has it.
        default: f64,
        /// What becomes of a share that is an odd number of dimensions.
        odd: OddPart,
    },
}

/// What becomes of an odd number of rotated dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OddPart {
    /// One more is rotated, at the frequencies of the odd number.
    RoundedUp,
    /// transformers fails.
    Refused,
}

impl Rule {
    /// Whole heads, as Llama has it.
    pub const WHOLE: Rule = Rule {
        theta: "rope_theta",
        default_theta: 10_000.0,
        part: Part::Whole,
        pairs: Pairs::Halves,
        only_long_rope: false,
    };

    /// A share of each head.
    pub const fn share(default: f64, odd: OddPart) -> Rule {
        Rule { part: Part::Share { name: "partial_rotary_factor", default, odd }, ..Self::WHOLE }
    }
}

/// The rotary embeddings of a config's heads.
pub fn rotary(fields: &Fields, head_dim: usize, rule: &Rule) -> Result<RotarySpec> {
    let map = match fields.nested("rope_scaling")?.filter(|map| !map.is_empty()) {
        Some(map) => {
            fields.ignore(&["rope_parameters"]);
            Some(map)
        }
        None => fields.nested("rope_parameters")?,
    };
    let within = |name, allowed| match &map {
        Some(map) => map.given_number(name, allowed),
        None => Ok(None),
    };
    let theta = match within("rope_theta", Allowed::THETA)? {
        Some(theta) => theta,
        None => fields.given_number(rule.theta, Allowed::THETA)?.unwrap_or(rule.default_theta),
    };
    // A length of the pretraining's texts says nothing without a scaling.
    fields.ignore(&[rule.theta, "original_max_position_embeddings"]);
    let scaling = match &map {
        Some(map) => rotary_scaling(fields, map, rule.only_long_rope)?,
        None => None,
    };
    let share = match rule.part {
        Part::Whole => {
            let part = within("partial_rotary_factor", Allowed::PART)?;
            let part = match part {
                None if scaling.is_some() => {
                    fields.given_number("partial_rotary_factor", Allowed::PART)?
                }
                part => part,
            };
            if scaling.is_some() && part.is_some_and(|part| part != 1.0) {
                bail!(
                    "config.json: partial_rotary_factor with rope scaling can't be honoured in this family, in which whole \
                     heads are rotated"
                );
            }
            1.0
        }
        Part::Share { name, default, .. } => {
            match within("partial_rotary_factor", Allowed::PART)? {
                Some(part) => part,
                None => fields.given_number(name, Allowed::PART)?.unwrap_or(default),
            }
        }
    };
    if let Part::Share { name, .. } = rule.part {
        fields.ignore(&[name]);
    }
    if let Some(map) = &map {
        map.finish_rotary();
    }
    let dims = (head_dim as f64 * share) as usize;
    let odd = match rule.part {
        Part::Whole => OddPart::Refused,
        Part::Share { odd, .. } => odd,
    };
    let spec = rotary_spec(head_dim, dims, odd, theta, rule.pairs)?;
    scaled(spec, scaling)
}

/// Rotary embeddings of `dims` dimensions without scaling. Checks that they fit a head.
pub fn rotary_spec(
    head_dim: usize,
    dims: usize,
    odd: OddPart,
    theta: f64,
    pairs: Pairs,
) -> Result<RotarySpec> {
    let rounded = match odd {
        OddPart::RoundedUp => dims.next_multiple_of(2),
        OddPart::Refused => dims,
    };
    if dims == 0 || !rounded.is_multiple_of(2) || rounded > head_dim {
        bail!(
            "config.json: {dims} rotary dimensions of a head of {head_dim}: expected an even number of at most that"
        );
    }
    Ok(RotarySpec { dims: rounded, over: dims, pairs, theta, scaling: None })
}

/// The rotary embeddings with a scaling, if it fits them.
pub fn scaled(spec: RotarySpec, scaling: Option<RotaryScaling>) -> Result<RotarySpec> {
    let frequencies = spec.dims / 2;
    match &scaling {
        Some(RotaryScaling::LongRope { short, long, .. })
            if short.len() != frequencies || long.len() != frequencies =>
        {
            bail!(
                "config.json: longrope has {} and {} factors for {frequencies} frequencies",
                short.len(),
                long.len()
            )
        }
        Some(_) if spec.over != spec.dims => {
            bail!(
                "config.json: rope scaling of {} rotary dimensions can't be honoured: expected an even number",
                spec.over
            )
        }
        Some(RotaryScaling::Yarn { .. }) if spec.theta == 1.0 => {
            bail!("config.json: yarn needs a rope_theta above 1, which its logarithm divides by")
        }
        Some(RotaryScaling::Dynamic { .. }) if spec.dims < 4 => {
            bail!(
                "config.json: dynamic rope scaling needs 4 rotary dimensions or more, not {}",
                spec.dims
            )
        }
        _ => Ok(RotarySpec { scaling, ..spec }),
    }
}

/// The scaling in a map `scaling`, which is `rope_scaling` or `rope_parameters`, of the config
/// `fields`. With `only_long_rope`, LongRoPE is the only one, and has older names.
pub fn rotary_scaling(
    fields: &Fields,
    scaling: &Fields,
    only_long_rope: bool,
) -> Result<Option<RotaryScaling>> {
    let name = if scaling.has("rope_type") { "rope_type" } else { "type" };
    let kind: Option<String> = match scaling.has(name) {
        true => Some(scaling.required(name)?),
        false => None,
    };
    let factor = || scaling.required_number("factor", Allowed::FACTOR);
    // What the config itself says comes first.
    let original = || -> Result<usize> {
        let name = "original_max_position_embeddings";
        if let Some(positions) = fields.positions(name)? {
            scaling.ignore(&[name]);
            return Ok(positions);
        }
        match scaling.has(name) {
            true => scaling.max_positions(name),
            false => fields.max_positions("max_position_embeddings"),
        }
    };
    let kind = match kind.as_deref() {
        Some("su") if only_long_rope && !scaling.has("original_max_position_embeddings") => {
            return Err(error!(
                "config.json: the rope scaling \"su\" has no original_max_position_embeddings"
            )
            .help("transformers refuses it too; the kind is called longrope now, and needs none"));
        }
        Some("su" | "yarn") if only_long_rope => Some("longrope"),
        Some(other) if only_long_rope && !["default", "longrope"].contains(&other) => {
            bail!(
                "config.json: the rope scaling {other:?} can't be honoured in this family; longrope is"
            )
        }
        kind => kind,
    };
    Ok(match kind {
        None | Some("default") => None,
        Some("linear") => Some(RotaryScaling::Linear { factor: factor()? }),
        Some("dynamic") => Some(RotaryScaling::Dynamic {
            factor: factor()?,
            max_positions: fields.max_positions("max_position_embeddings")?,
        }),
        Some("llama3") => {
            let low = scaling.required_number("low_freq_factor", Allowed::SCALE)?;
            let high = scaling.required_number("high_freq_factor", Allowed::SCALE)?;
            if low >= high {
                bail!(
                    "config.json: high_freq_factor must be above low_freq_factor = {low}, not {high}"
                );
            }
            Some(RotaryScaling::Llama3 {
                factor: factor()?,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_positions: original()? as f64,
            })
        }
        Some("yarn") => Some(yarn_scaling(fields, scaling, original()?)?),
        Some("longrope") => Some(long_rope(fields, scaling, original()?)?),
        Some(other) => {
            bail!(
                "config.json: the rope scaling {other:?} can't be honoured; linear, dynamic, llama3, yarn and longrope are"
            )
        }
    })
}

/// YaRN's settings (Peng et al. 2023), as in transformers' `_compute_yarn_parameters`.
fn yarn_scaling(fields: &Fields, scaling: &Fields, original: usize) -> Result<RotaryScaling> {
    if !scaling.has("factor") {
        bail!("config.json: the rope scaling yarn has no factor");
    }
    let factor = match scaling.number("factor", Allowed::FACTOR)? {
        Some(factor) => factor,
        None => fields.max_positions("max_position_embeddings")? as f64 / original as f64,
    };
    // As in Python, 0 counts as absent.
    let number = |name| -> Result<Option<f64>> {
        match scaling.number(name, Allowed::NOT_NEGATIVE)? {
            None | Some(0.0) => Ok(None),
            Some(_) => scaling.number(name, Allowed::SCALE),
        }
    };
    let (mscale, all) = (number("mscale")?, number("mscale_all_dim")?);
    let attention_factor = match scaling.number("attention_factor", Allowed::SCALE)? {
        Some(given) => given,
        None => match (mscale, all) {
            (Some(mscale), Some(all)) => yarn::mscale(factor, mscale) / yarn::mscale(factor, all),
            _ => yarn::mscale(factor, 1.0),
        },
    };
    Ok(RotaryScaling::Yarn {
        factor,
        beta_fast: number("beta_fast")?.unwrap_or(32.0),
        beta_slow: number("beta_slow")?.unwrap_or(1.0),
        // Null counts as false, as in Python.
        truncate: scaling.or("truncate", !scaling.has("truncate"))?,
        original_max_positions: original as f64,
        attention_factor,
    })
}

/// LongRoPE's settings (Ding et al. 2024), as in transformers' `_compute_longrope_parameters`.
fn long_rope(fields: &Fields, scaling: &Fields, original: usize) -> Result<RotaryScaling> {
    if original < 2 {
        bail!("config.json: original_max_position_embeddings must be at least 2, not {original}");
    }
    let longest = fields.max_positions("max_position_embeddings")?;
    let factor = match scaling.number("factor", Allowed::FACTOR)? {
        Some(factor) => factor,
        None => longest as f64 / original as f64,
    };
    let computed =
        if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / (original as f64).ln()).sqrt() };
    Ok(RotaryScaling::LongRope {
        short: scaling.numbers("short_factor", Allowed::SCALE)?,
        long: scaling.numbers("long_factor", Allowed::SCALE)?,
        original_max_positions: original,
        attention_factor: scaling.number("attention_factor", Allowed::SCALE)?.unwrap_or(computed),
    })
}
