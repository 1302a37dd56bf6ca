//! The hook points as a list for a person, in the sizes of a model where one is meant.

use super::Spec;
use crate::hook::{Alias, Dim, Point};

/// What the letters in the shapes stand for.
pub const LEGEND: &str = "\
b batch, n tokens, m tokens attended to (n, or more with a cache), e embedding size, d hidden size, h query heads,
k key/value heads, c head size, f feed-forward size, v vocabulary.
In hook(name, …) a TransformerLens name binds the same point and layer, as in blocks.3.hook_resid_post. The tensor is the
one listed here: queries, keys, values and attn.hook_z stay heads first, where TransformerLens has them after the tokens.";

/// A head, then a row for each point (each that the model has): its name, shape, what stands there,
/// TransformerLens's name.
pub fn rows(spec: Option<&Spec>) -> Vec<[String; 4]> {
    let head = ["point", "shape", "what it holds", "TransformerLens name"].map(str::to_owned);
    let known = Point::ALL.into_iter().filter(|point| spec.is_none_or(|spec| spec.has(*point)));
    std::iter::once(head).chain(known.map(|point| row(point, spec))).collect()
}

pub fn row(point: Point, spec: Option<&Spec>) -> [String; 4] {
    [point.name().to_owned(), shape(point, spec), point.holds().to_owned(), alias(point, spec)]
}

/// `b n d`, or `b n 768` where the model settles it.
fn shape(point: Point, spec: Option<&Spec>) -> String {
    let dim = |dim: &Dim| match spec.and_then(|spec| spec.size(*dim)) {
        Some(size) => size.to_string(),
        None => dim.letter().to_owned(),
    };
    point.shape().iter().map(dim).collect::<Vec<_>>().join(" ")
}

fn alias(point: Point, spec: Option<&Spec>) -> String {
    let block = if point.in_block() { "blocks.{i}." } else { "" };
    match (point.alias(), spec) {
        (None, _) => "—".into(),
        (Some(Alias::Always(name)), _) => format!("{block}{name}"),
        (Some(Alias::ByRotary { plain, rotary }), Some(spec)) => {
            format!("{block}{}", if spec.rotary().is_some() { rotary } else { plain })
        }
        (Some(Alias::ByRotary { plain, rotary }), None) => {
            format!("{block}{plain}; rotary families {block}{rotary}")
        }
    }
}
