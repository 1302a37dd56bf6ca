//! Where a hook binds: a point, and in a block the layer.

use std::fmt;

use super::places::Places;
use super::point::{Alias, Point};
use crate::{Error, Result, bail, error, nearest};

/// One place of one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    pub point: Point,
    /// The block, for a point that every block has.
    pub layer: Option<usize>,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            Some(layer) => write!(f, "{}@{layer}", self.point),
            None => write!(f, "{}", self.point),
        }
    }
}

/// The layers a hook asks for; negative numbers count from the last.
pub type Layers = Places;

/// A point's name as a person writes it, with what the name says about layer and family.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    pub point: Point,
    pub layer: Option<i64>,
    /// A TransformerLens name that means this tensor only in families with (or without) rotary
    /// positions.
    pub rotary: Option<bool>,
}

impl Named {
    /// Reads `post-mlp`, `post-mlp@3` or `blocks.3.hook_resid_post`.
    ///
    /// # Errors
    /// A name that is neither a point's nor a TransformerLens name of one, or a layer where there
    /// is none.
    pub fn parse(name: &str) -> Result<Named> {
        if let Some(named) = parse_alias(name)? {
            return Ok(named);
        }
        let (point, layer) = match name.split_once('@') {
            Some((point, layer)) => {
                let number = layer.parse::<i64>().map_err(|_| {
                    error!("{name:?}: after the @ comes a layer's number, not {layer:?}")
                        .help("as in post-mlp@3")
                })?;
                (Point::parse(point)?, Some(number))
            }
            None => (Point::parse(name)?, None),
        };
        if layer.is_some() && !point.in_block() {
            bail!("{point} is not in a block: it has no layer");
        }
        Ok(Named { point, layer, rotary: None })
    }

    /// # Errors
    /// A TransformerLens name that means another tensor in this family.
    pub fn check_family(&self, family: &str, rotary: bool) -> Result<()> {
        let Some(Alias::ByRotary { plain, rotary: rotated }) = self.point.alias() else {
            return Ok(());
        };
        match self.rotary {
            Some(false) if rotary => Err(error!(
                "in TransformerLens {plain} is taken before the rotation, and {} is what stands after it in {family}",
                self.point
            )
            .help(format!("{rotated} is that point's name in families with rotary positions"))),
            Some(true) if !rotary => {
                Err(error!("{family} has no rotary positions, so no {rotated}")
                    .help(format!("its name there is {plain}")))
            }
            _ => Ok(()),
        }
    }
}

fn parse_alias(name: &str) -> Result<Option<Named>> {
    let (layer, tail) = match name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        Some((layer, tail)) => match layer.parse::<i64>() {
            Ok(layer) => (Some(layer), tail),
            Err(_) => bail!("{name:?}: after blocks. comes a layer's number, not {layer:?}"),
        },
        None => (None, name),
    };
    for point in Point::ALL {
        let rotary = match point.alias() {
            Some(Alias::Always(alias)) if alias == tail => None,
            Some(Alias::ByRotary { plain, .. }) if plain == tail => Some(false),
            Some(Alias::ByRotary { rotary, .. }) if rotary == tail => Some(true),
            _ => continue,
        };
        return match (point.in_block(), layer) {
            (true, None) => {
                Err(error!("{name:?} is a name in a block").help(format!("write blocks.0.{tail}")))
            }
            (false, Some(_)) => {
                Err(error!("{tail} is not in a block").help(format!("write {tail}")))
            }
            _ => Ok(Some(Named { point, layer, rotary })),
        };
    }
    match layer {
        Some(_) => Err(unknown_alias(name, tail)),
        None if tail.starts_with("hook_") || tail.contains(".hook_") => {
            Err(unknown_alias(name, tail))
        }
        None => Ok(None),
    }
}

/// TransformerLens names of what is no point here, and what is nearest to it.
const NO_POINTS: &[(&str, &str)] = &[
    (
        "hook_attn_in",
        "pre-block is the stream that enters the block, pre-attn what the projections read of it",
    ),
    (
        "hook_q_input",
        "pre-attn is what all heads' queries, keys and values are made of, query-states what comes of it head by head",
    ),
    (
        "hook_k_input",
        "pre-attn is what all heads' queries, keys and values are made of, key-states what comes of it head by head",
    ),
    (
        "hook_v_input",
        "pre-attn is what all heads' queries, keys and values are made of, value-states what comes of it head by head",
    ),
    (
        "hook_mlp_in",
        "post-attn is the stream that the MLP's norm reads, pre-mlp what stands after the norm",
    ),
    (
        "hook_pos_embed",
        "post-pos-embeddings is the sum of both embeddings, post-tok-embeddings those of the tokens alone",
    ),
    ("hook_tokens", "ctx.ids are the tokens"),
];

/// A name that looks like TransformerLens's: what it has in common with one that is known.
fn unknown_alias(name: &str, tail: &str) -> Error {
    let error = error!("there is no hook point {name:?}");
    if let Some((_, nearest)) = NO_POINTS.iter().find(|(known, _)| *known == tail) {
        return error.help(*nearest);
    }
    let known: Vec<&str> = aliases().collect();
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    // In TransformerLens hook_q may be written for attn.hook_q.
    let same = known.iter().find(|known| last(known) == last(tail)).copied();
    let Some(meant) = same.or_else(|| nearest(tail, known.iter().copied()).first().copied()) else {
        return error.help("`precompute points` lists the names");
    };
    let blocks = match name.strip_suffix(tail) {
        _ if !in_block(meant) => "",
        Some("") | None => "blocks.0.",
        Some(blocks) => blocks,
    };
    error.help(format!("did you mean {blocks}{meant}?"))
}

/// Every TransformerLens name, in a block without its `blocks.{i}.`.
fn aliases() -> impl Iterator<Item = &'static str> {
    Point::ALL.into_iter().filter_map(Point::alias).flat_map(|alias| match alias {
        Alias::Always(name) => vec![name],
        Alias::ByRotary { plain, rotary } => vec![plain, rotary],
    })
}

fn in_block(alias: &str) -> bool {
    Point::ALL.into_iter().any(|point| {
        point.in_block()
            && match point.alias() {
                Some(Alias::Always(name)) => name == alias,
                Some(Alias::ByRotary { plain, rotary }) => plain == alias || rotary == alias,
                None => false,
            }
    })
}

/// The sites of a pass that someone wants, as bits: asking is one branch.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteSet {
    outside: u64,
    blocks: Vec<u64>,
}

#[inline]
fn bit(point: Point) -> u64 {
    const { assert!(Point::ALL.len() <= u64::BITS as usize) }
    1 << point as u32
}

impl SiteSet {
    /// None, of a model with `layers` blocks.
    pub fn new(layers: usize) -> Self {
        Self { outside: 0, blocks: vec![0; layers] }
    }

    pub fn insert(&mut self, site: Site) {
        let bit = bit(site.point);
        match site.layer {
            Some(layer) => self.blocks[layer] |= bit,
            None => self.outside |= bit,
        }
    }

    /// Every site of `point` in `layers`, or the one outside the blocks.
    pub fn insert_all(&mut self, point: Point, layers: impl IntoIterator<Item = usize>) {
        if point.in_block() {
            layers.into_iter().for_each(|layer| self.insert(Site { point, layer: Some(layer) }));
        } else {
            self.insert(Site { point, layer: None });
        }
    }

    pub fn union(&mut self, other: &SiteSet) {
        self.outside |= other.outside;
        self.blocks.iter_mut().zip(&other.blocks).for_each(|(mine, theirs)| *mine |= theirs);
    }

    #[inline]
    pub fn contains(&self, site: Site) -> bool {
        let bits = match site.layer {
            Some(layer) => self.blocks[layer],
            None => self.outside,
        };
        bits & bit(site.point) != 0
    }

    pub fn iter(&self) -> impl Iterator<Item = Site> + '_ {
        let in_block = |layer| Point::ALL.into_iter().map(move |point| Site { point, layer });
        in_block(None)
            .chain((0..self.blocks.len()).flat_map(move |layer| in_block(Some(layer))))
            .filter(|site| site.layer.is_some() == site.point.in_block() && self.contains(*site))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transformer_lens_name_is_the_same_site() {
        let named = Named::parse("blocks.3.hook_resid_post").unwrap();
        assert_eq!((named.point, named.layer), (Point::PostMlp, Some(3)));
        assert_eq!(Named::parse("hook_embed").unwrap().point, Point::PostTokEmbeddings);
        assert!(Named::parse("hook_resid_post").is_err());
        assert!(Named::parse("blocks.0.hook_embed").is_err());
        assert!(Named::parse("blocks.0.hook_nothing").is_err());
        assert!(
            Named::parse("blocks.0.attn.hook_q").unwrap().check_family("gpt_neox", true).is_err()
        );
        assert!(
            Named::parse("blocks.0.attn.hook_rot_q")
                .unwrap()
                .check_family("gpt_neox", true)
                .is_ok()
        );
        assert!(Named::parse("query-states").unwrap().check_family("gpt_neox", true).is_ok());
    }

    #[test]
    fn a_set_gives_back_what_was_put_in() {
        let mut set = SiteSet::new(3);
        set.insert_all(Point::PostMlp, [0, 2]);
        set.insert_all(Point::Logits, []);
        let names: Vec<String> = set.iter().map(|s| s.to_string()).collect();
        assert_eq!(names, ["logits", "post-mlp@0", "post-mlp@2"]);
    }
}
