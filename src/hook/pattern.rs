//! Names with a `*` in them, which stand for several points.

use super::point::Point;
use super::point_name::{PointName, aliases};
use crate::{Result, did_you_mean, error};

/// Whether a name is a pattern, which may stand for several points.
pub fn is_pattern(name: &str) -> bool {
    name.contains('*')
}

/// The points that a name stands for: the one of that name, or for a pattern all that it fits, in
/// the order of [`Point::ALL`]. A `*` stands for any text, as in `attn-*`, `post-*@3` and
/// `blocks.*.hook_resid_post`.
///
/// # Errors
/// Those of [`PointName::parse`]; the pattern fits no point.
pub fn named_like(name: &str) -> Result<Vec<PointName>> {
    if !is_pattern(name) {
        return Ok(vec![PointName::parse(name)?]);
    }
    let number = |text: &str| {
        text.parse::<i64>()
            .map(Some)
            .map_err(|_| error!("{name:?} has {text:?} where a layer's number or * would stand"))
    };
    let mut found = Vec::new();
    if let Some((layer, tail)) = name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.'))
    {
        let layer = if layer == "*" { None } else { number(layer)? };
        found.extend(
            aliases()
                .filter(|alias| alias.point.in_block() && fits(tail, alias.name))
                .map(|alias| PointName { point: alias.point, layer, rotary: alias.rotary }),
        );
    } else {
        let (pattern, layer) = match name.split_once('@') {
            Some((pattern, layer)) => (pattern, if layer == "*" { None } else { number(layer)? }),
            None => (name, None),
        };
        let fitting = Point::ALL.into_iter().filter(|point| {
            let alias = || {
                aliases().any(|alias| {
                    alias.point == *point && !point.in_block() && fits(pattern, alias.name)
                })
            };
            (fits(pattern, point.name()) || alias()) && (layer.is_none() || point.in_block())
        });
        found.extend(fitting.map(|point| PointName { point, layer, rotary: None }));
    }
    if found.is_empty() {
        let error = error!("{name:?} fits no hook point");
        return Err(match did_you_mean(name, Point::ALL.map(Point::name)) {
            Some(help) => error.help(help),
            None => error.help("`precompute points` lists the names; * stands for any part of one, as in \"attn-*\""),
        });
    }
    Ok(found)
}

/// Whether `pattern` fits the whole `name`, with `*` standing for any text.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(tail) = name.strip_prefix(head) else { return false };
    tail.char_indices().map(|(at, _)| at).chain([tail.len()]).any(|at| fits(rest, &tail[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &str) -> Vec<&'static str> {
        let mut names: Vec<_> =
            named_like(pattern).unwrap().into_iter().map(|named| named.point.name()).collect();
        names.dedup();
        names
    }

    #[test]
    fn a_star_stands_for_anything() {
        assert_eq!(
            names("*-mask-attn-weights"),
            ["pre-mask-attn-weights", "post-mask-attn-weights"]
        );
        assert_eq!(names("post-mlp"), ["post-mlp"]);
        assert!(names("attn-*").contains(&"attn-probs") && !names("attn-*").contains(&"post-attn"));
        assert_eq!(names("*").len(), Point::ALL.len());
        assert_eq!(names("**p*s*mlp*"), names("*p*s*mlp*"));
        assert_eq!(names("blocks.*.hook_resid_*"), ["pre-block", "post-attn", "post-mlp"]);
        assert_eq!(names("hook_emb*"), ["post-tok-embeddings"]);
        assert_eq!(named_like("blocks.2.hook_resid_*").unwrap()[0].layer, Some(2));
        assert_eq!(
            named_like("post-*@1").unwrap().len(),
            named_like("post-*@*").unwrap().iter().filter(|n| n.point.in_block()).count()
        );
        assert_eq!(
            named_like("blocks.*.attn.hook_*q").unwrap().len(),
            3,
            "hook_q of two points, of which a family has one, and hook_rot_q"
        );
        for wrong in
            ["attn_*", "blocks.*.hook_nothing*", "blocks.x.hook_*", "post-*@x", "logits*@1"]
        {
            assert!(named_like(wrong).is_err(), "{wrong}");
        }
    }
}
