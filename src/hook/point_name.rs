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
    /// the families with rotary positions. In the others it may mean another: see
    /// [`in_family`](Self::in_family).
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

    /// What the name means in a family; `rotary` says whether the family's positions are.
    ///
    /// # Errors
    /// It is a TransformerLens name that means nothing in this family.
    pub fn in_family(self, family: &str, rotary: bool) -> Result<Self> {
        if self.rotary.is_none_or(|only| only == rotary) {
            return Ok(self);
        }
        let mut own = self.point.alias().into_iter().flat_map(Alias::names);
        let name = own.find(|(_, only)| *only == self.rotary).map_or("", |(name, _)| name);
        if let Some(known) =
            aliases().find(|known| known.name == name && known.rotary != self.rotary)
        {
            return Ok(Self { point: known.point, rotary: known.rotary, ..self });
        }
        let there = self.point.alias().into_iter().flat_map(|alias| alias.names_in(Some(rotary)));
        let error = error!("{family} has no rotary positions, so no {name}");
        Err(match there.last() {
            Some(other) => error.help(format!("its name there is {other}")),
            None => error,
        })
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

/// Every TransformerLens name of a point. A name that means one tensor in families with rotary
/// positions and another in the rest is there twice.
pub(super) fn aliases() -> impl Iterator<Item = KnownAlias> {
    Point::ALL.into_iter().flat_map(|point| {
        let names = point.alias().into_iter().flat_map(Alias::names);
        names.map(move |(name, rotary)| KnownAlias { name, point, rotary })
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
    }

    #[test]
    fn queries_have_the_name_that_their_family_gives_them() {
        let point = |name, rotary| {
            PointName::parse(name).unwrap().in_family("family", rotary).map(|named| named.point)
        };
        assert_eq!(point("blocks.0.attn.hook_q", true), Ok(Point::PreQueryStates));
        assert_eq!(point("blocks.0.attn.hook_q", false), Ok(Point::QueryStates));
        assert_eq!(point("blocks.0.attn.hook_rot_k", true), Ok(Point::KeyStates));
        assert_eq!(point("query-states", true), Ok(Point::QueryStates));
        let error = point("blocks.0.attn.hook_rot_k", false).unwrap_err();
        assert!(error.message().contains("no attn.hook_rot_k"), "{error}");
        assert_eq!(error.help_text(), Some("its name there is attn.hook_k"));
    }
}
