//! Where a hook binds: a point, and in a block the layer.

use std::fmt;

use super::places::Places;
use super::point::{Alias, Point};
use crate::{Result, bail, error};

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
    /// A TransformerLens name that means this tensor only in families with (or without) rotary positions.
    pub rotary: Option<bool>,
}

impl Named {
    /// Reads `post-mlp`, `post-mlp@3` or `blocks.3.hook_resid_post`.
    ///
    /// # Errors
    /// A name that is neither a point's nor a TransformerLens name of one, or a layer where there is none.
    pub fn parse(name: &str) -> Result<Named> {
        if let Some(named) = parse_alias(name)? {
            return Ok(named);
        }
        let (point, layer) = match name.split_once('@') {
            Some((point, layer)) => {
                let number = layer.parse::<i64>().map_err(|_| {
                    error!("{name:?}: after the @ comes a layer's number, not {layer:?}").help("as in post-mlp@3")
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
        let Some(Alias::ByRotary { plain, rotary: rotated }) = self.point.alias() else { return Ok(()) };
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
            (true, None) => Err(error!("{name:?} is a name in a block").help(format!("write blocks.0.{tail}"))),
            (false, Some(_)) => Err(error!("{tail} is not in a block").help(format!("write {tail}"))),
            _ => Ok(Some(Named { point, layer, rotary })),
        };
    }
    match layer {
        Some(_) => Err(error!("there is no hook point {name:?}").help("`precompute points` lists the names")),
        None => Ok(None),
    }
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
        assert!(Named::parse("blocks.0.attn.hook_q").unwrap().check_family("gpt_neox", true).is_err());
        assert!(Named::parse("blocks.0.attn.hook_rot_q").unwrap().check_family("gpt_neox", true).is_ok());
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
