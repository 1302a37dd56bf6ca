//! The names by which people bind hooks: `post-mlp`, `post-mlp@3`, or TransformerLens's
//! `blocks.3.hook_resid_post`.

use super::point::{Alias, Point};
use super::point_table::NAMES_WITHOUT_POINT;
use super::site::Layers;
use super::site_set::SiteSet;
use crate::{Error, Result, bail, error, nearest};

/// A point as a person named it, with what the name says about layer and family.
#[derive(Debug, Clone, PartialEq)]
pub struct PointName {
    /// The point.
    pub point: Point,
    /// The layer in the name; negative numbers count from the last.
    pub layer: Option<i64>,
    /// For a TransformerLens name that means this tensor only in some families: whether those are
    /// the families with rotary positions.
    pub rotary: Option<bool>,
}

impl PointName {
    /// Reads `post-mlp`, `post-mlp@3` or `blocks.3.hook_resid_post`.
    ///
    /// # Errors
    /// The name is neither a point's nor TransformerLens's for one, or it gives a layer to a point
    /// that is in no block.
    pub fn parse(name: &str) -> Result<Self> {
        if let Some(found) = parse_alias(name)? {
            return Ok(found);
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
        Ok(Self { point, layer, rotary: None })
    }

    /// Checks that the name means this point in a family; `rotary` says whether the family's
    /// positions are.
    ///
    /// # Errors
    /// It is a TransformerLens name that means another tensor in this family.
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

    /// The layers that the name and the option `asked` select together.
    ///
    /// # Errors
    /// Both select layers, or `asked` does and the point is in no block.
    pub fn layers(&self, asked: Layers) -> Result<Layers> {
        match (self.layer, asked) {
            (None, Layers::All) => Ok(Layers::All),
            (None, asked) if self.point.in_block() => Ok(asked),
            (None, _) => bail!("{} is not in a block: it takes no layers", self.point),
            (Some(layer), Layers::All) => Ok(Layers::one(layer)),
            (Some(layer), _) => {
                bail!("the name already says layer {layer}: leave out the layers option")
            }
        }
    }

    /// The sites of the point in `layers` of a model with `count` blocks.
    ///
    /// # Errors
    /// The model does not have one of the layers.
    pub fn sites(&self, layers: &Layers, count: usize) -> Result<SiteSet> {
        let mut sites = SiteSet::new(count);
        sites.insert_all(self.point, layers).map_err(|error| error.at(self.point))?;
        Ok(sites)
    }
}

/// A TransformerLens name, in a block without its `blocks.{i}.`.
pub(super) struct KnownAlias {
    pub name: &'static str,
    pub point: Point,
    /// As [`PointName::rotary`].
    pub rotary: Option<bool>,
}

/// Every TransformerLens name of a point.
pub(super) fn aliases() -> impl Iterator<Item = KnownAlias> {
    Point::ALL.into_iter().flat_map(|point| {
        let known = move |(name, rotary)| KnownAlias { name, point, rotary };
        let (first, second) = match point.alias() {
            None => (None, None),
            Some(Alias::Always(name)) => (Some((name, None)), None),
            Some(Alias::ByRotary { plain, rotary }) => {
                (Some((plain, Some(false))), Some((rotary, Some(true))))
            }
        };
        first.into_iter().chain(second).map(known)
    })
}

/// Reads a TransformerLens name; `None` if the name does not look like one.
fn parse_alias(name: &str) -> Result<Option<PointName>> {
    let (layer, tail) = match name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        Some((layer, tail)) => match layer.parse::<i64>() {
            Ok(layer) => (Some(layer), tail),
            Err(_) => bail!("{name:?}: after blocks. comes a layer's number, not {layer:?}"),
        },
        None => (None, name),
    };
    let Some(KnownAlias { point, rotary, .. }) = aliases().find(|alias| alias.name == tail) else {
        let is_alias = layer.is_some() || tail.starts_with("hook_") || tail.contains(".hook_");
        return if is_alias { Err(unknown_alias(name, tail)) } else { Ok(None) };
    };
    match (point.in_block(), layer) {
        (true, None) => {
            Err(error!("{name:?} is a name in a block").help(format!("write blocks.0.{tail}")))
        }
        (false, Some(_)) => Err(error!("{tail} is not in a block").help(format!("write {tail}"))),
        _ => Ok(Some(PointName { point, layer, rotary })),
    }
}

/// The error for a name that looks like TransformerLens's, with what to write instead.
fn unknown_alias(name: &str, tail: &str) -> Error {
    let error = error!("there is no hook point {name:?}");
    if let Some((_, instead)) = NAMES_WITHOUT_POINT.iter().find(|(known, _)| *known == tail) {
        return error.help(*instead);
    }
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    // In TransformerLens hook_q may be written for attn.hook_q.
    let same = aliases().find(|known| last(known.name) == last(tail));
    let near = || {
        let names: Vec<&str> = aliases().map(|known| known.name).collect();
        let name = nearest(tail, names.iter().copied()).first().copied()?;
        aliases().find(|known| known.name == name)
    };
    let Some(meant) = same.or_else(near) else {
        return error.help("`precompute points` lists the names");
    };
    let blocks = match name.strip_suffix(tail) {
        _ if !meant.point.in_block() => "",
        Some("") | None => "blocks.0.",
        Some(blocks) => blocks,
    };
    error.help(format!("did you mean {blocks}{}?", meant.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transformer_lens_name_is_the_same_site() {
        let named = PointName::parse("blocks.3.hook_resid_post").unwrap();
        assert_eq!((named.point, named.layer), (Point::PostMlp, Some(3)));
        assert_eq!(PointName::parse("hook_embed").unwrap().point, Point::PostTokEmbeddings);
        assert!(PointName::parse("hook_resid_post").is_err());
        assert!(PointName::parse("blocks.0.hook_embed").is_err());
        assert!(PointName::parse("blocks.0.hook_nothing").is_err());
        let check = |name| PointName::parse(name).unwrap().check_family("gpt_neox", true);
        assert!(check("blocks.0.attn.hook_q").is_err());
        assert!(check("blocks.0.attn.hook_rot_q").is_ok());
        assert!(check("query-states").is_ok());
    }
}
