//! What a hook is bound to: the points that its names stand for, and its options.

use std::fmt;
use std::ops::{Range, RangeInclusive};

use rhai::{Array, Dynamic, Map};

use crate::hook::{Layers, Places, PointName, Tokens, is_pattern, named_like};
use crate::script::value::options::{Options, describe, ints};
use crate::{Result, bail, error};

/// One hook point that a hook is bound to.
pub struct Target {
    /// The point, as the script named it.
    pub named: PointName,
    /// The layers in which the hook fires.
    pub layers: Layers,
    /// Whether the name was a pattern: a pass that does not reach the point then skips it instead
    /// of failing.
    pub by_pattern: bool,
}

impl Target {
    /// The points that `names` stand for, each with the layers that apply to it.
    ///
    /// # Errors
    /// A name of no point; layers for a point outside the blocks, or given twice; positions for a
    /// point without a token dim; a pattern with no match.
    pub fn of(names: &[String], options: &HookOptions) -> Result<Vec<Self>> {
        let mut targets = Vec::new();
        for name in names {
            let by_pattern = is_pattern(name);
            let before = targets.len();
            for named in named_like(name)? {
                let layers = named.layers(options.layers.clone());
                let placed = match named.point.token_dim() {
                    None if !options.tokens.is_all() => Err(error!(
                        "{} has no dim of tokens: positions and steps pick none there",
                        named.point
                    )),
                    _ => Ok(()),
                };
                match (layers, placed) {
                    (Ok(layers), Ok(())) => targets.push(Self { named, layers, by_pattern }),
                    (layers, placed) if !by_pattern => {
                        return layers.and(placed.map(|()| Vec::new()));
                    }
                    _ => {}
                }
            }
            if targets.len() == before {
                bail!("{name:?} fits no hook point to which these options apply");
            }
        }
        Ok(targets)
    }
}

/// The options of `hook`.
pub struct HookOptions {
    /// The layers in which the hook fires.
    pub layers: Layers,
    /// The tokens that the hook acts on.
    pub tokens: Tokens,
    /// Whether it is called on the way back, with the gradient that passes its points.
    pub backward: bool,
}

impl HookOptions {
    /// Reads the options map of `hook`.
    ///
    /// # Errors
    /// An unknown name, or a value of the wrong type.
    pub fn read(options: Map) -> Result<Self> {
        let options = Options::new("hook", options, &["layers", "positions", "steps", "backward"])?;
        let read = |name: &str, example: &str| -> Result<Places> {
            options.get(name).map_or(Ok(Places::All), |value| places(&value, name, example))
        };
        let backward = options.bool("backward")?.unwrap_or(false);
        if backward && options.get("steps").is_some() {
            bail!("steps are passes of generate, and generate never goes back");
        }
        Ok(Self {
            layers: options.get("layers").map_or(Ok(Layers::All), |value| layers(&value))?,
            tokens: Tokens {
                positions: read(
                    "positions",
                    "#{positions: -1}, #{positions: [0, 3]} or #{positions: 2..}",
                )?,
                steps: read("steps", "#{steps: 0}, #{steps: [0, 2]} or #{steps: 1..}")?,
            },
            backward,
        })
    }
}

/// The options as a script writes them, without those that were left out.
impl fmt::Display for HookOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            ("layers", &self.layers),
            ("positions", &self.tokens.positions),
            ("steps", &self.tokens.steps),
        ];
        let asked = all.into_iter().filter(|(_, places)| **places != Places::All);
        let asked = asked.map(|(name, places)| format!("{name}: {places}"));
        let backward = self.backward.then(|| "backward: true".to_owned());
        f.write_str(&asked.chain(backward).collect::<Vec<_>>().join(", "))
    }
}

/// Reads the option `layers`: `3`, `[0, 2]`, `4..8` or `-1`.
///
/// # Errors
/// The value is neither an integer, an array of integers nor a range, or the array or the range is
/// empty.
pub fn layers(value: &Dynamic) -> Result<Layers> {
    places(value, "layers", "#{layers: 3}, #{layers: [0, 2]}, #{layers: 4..8} or #{layers: -1}")
}

fn places(value: &Dynamic, name: &str, example: &str) -> Result<Places> {
    if let Some(list) = ints(value) {
        if list.is_empty() {
            bail!("{name} is an empty array: the hook would never run");
        }
        return Ok(Places::Some(list));
    }
    if let Some(range) = value.read_lock::<Range<i64>>() {
        return Places::Range(range.start, range.end).not_empty(name);
    }
    if let Some(range) = value.read_lock::<RangeInclusive<i64>>() {
        let end = if *range.end() == -1 { i64::MAX } else { range.end().saturating_add(1) };
        return Places::Range(*range.start(), end).not_empty(name);
    }
    let one = name.strip_suffix('s').unwrap_or(name);
    Err(error!("{name} must be a {one}, an array of them or a range, not {}", describe(value))
        .help(format!("as in {example}")))
}

/// Reads the points that `hook` or `capture` (the function `call`) is given: one name, or an array
/// of names.
///
/// # Errors
/// The value is something else, or an empty array.
pub fn point_names(call: &str, value: &Dynamic) -> Result<Vec<String>> {
    let name = |value: &Dynamic| value.clone().into_string().ok();
    if let Some(one) = name(value) {
        return Ok(vec![one]);
    }
    let list = value
        .read_lock::<Array>()
        .and_then(|list| list.iter().map(name).collect::<Option<Vec<_>>>());
    match list {
        Some(list) if !list.is_empty() => Ok(list),
        _ => bail!("{call} takes a point's name or an array of them, not {}", describe(value)),
    }
}
