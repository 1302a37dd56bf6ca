//! Where a hook is bound: the points that its names stand for, and what its options say.

use std::fmt;
use std::ops::{Range, RangeInclusive};

use rhai::{Array, Dynamic, Map};

use crate::hook::{Layers, Named, Places, Tokens, is_pattern, named_like};
use crate::script::value::options::{Options, describe, ints};
use crate::{Result, bail, error};

/// A point that a hook was bound to.
pub struct Target {
    pub named: Named,
    pub layers: Layers,
    /// A pattern fits it: a pass that does not come there leaves it out.
    pub by_pattern: bool,
}

impl Target {
    /// # Errors
    /// A name that is no point's; layers for a point that is in no block, or twice; positions where
    /// no tokens stand.
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

/// The options of a hook.
pub struct HookOptions {
    pub layers: Layers,
    pub tokens: Tokens,
}

impl HookOptions {
    pub fn read(options: Map) -> Result<Self> {
        let options = Options::new("hook", options, &["layers", "positions", "steps"])?;
        let read = |name: &str, example: &str| -> Result<Places> {
            options.get(name).map_or(Ok(Places::All), |value| places(&value, name, example))
        };
        Ok(Self {
            layers: options.get("layers").map_or(Ok(Layers::All), |value| layers(&value))?,
            tokens: Tokens {
                positions: read(
                    "positions",
                    "#{positions: -1}, #{positions: [0, 3]} or #{positions: 2..}",
                )?,
                steps: read("steps", "#{steps: 0}, #{steps: [0, 2]} or #{steps: 1..}")?,
            },
        })
    }
}

/// As a script writes them; nothing of what was left out.
impl fmt::Display for HookOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            ("layers", &self.layers),
            ("positions", &self.tokens.positions),
            ("steps", &self.tokens.steps),
        ];
        let asked = all.into_iter().filter(|(_, places)| **places != Places::All);
        f.write_str(
            &asked.map(|(name, places)| format!("{name}: {places}")).collect::<Vec<_>>().join(", "),
        )
    }
}

/// The layers option: `3`, `[0, 2]`, `4..8` or `-1`.
///
/// # Errors
/// Another value.
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
        return Ok(Places::Range(range.start, range.end));
    }
    if let Some(range) = value.read_lock::<RangeInclusive<i64>>() {
        let end = if *range.end() == -1 { i64::MAX } else { range.end().saturating_add(1) };
        return Ok(Places::Range(*range.start(), end));
    }
    let one = name.strip_suffix('s').unwrap_or(name);
    Err(error!("{name} must be a {one}, an array of them or a range, not {}", describe(value))
        .help(format!("as in {example}")))
}

/// The points of `hook` or `capture`: one name, or an array of them.
///
/// # Errors
/// Anything else.
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
