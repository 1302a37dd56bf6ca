//! The table of hook points for people, with the sizes of a model where one is given.

use super::Spec;
use crate::hook::{Dim, Point};

/// The lines that explain the letters in the shapes and the TransformerLens names.
pub fn legend() -> Vec<String> {
    let letters = Dim::LETTERS.map(|dim| format!("{} {}", dim.letter(), dim.meaning()));
    let (first, second) = letters.split_at(6);
    vec![
        format!("{},", first.join(", ")),
        format!("{}.", second.join(", ")),
        "In hook(name, …) a TransformerLens name binds the same point and layer, as in \
         blocks.3.hook_resid_post. The tensor is the"
            .into(),
        "one listed here: queries, keys, values and attn.hook_z stay heads first, where \
         TransformerLens has them after the tokens."
            .into(),
    ]
}

/// The table's head, then a row for each point, or for each that the model has.
pub fn rows(spec: Option<&Spec>) -> Vec<[String; 4]> {
    let head = ["point", "shape", "what it holds", "TransformerLens name"].map(str::to_owned);
    let known = Point::ALL.into_iter().filter(|point| spec.is_none_or(|spec| spec.has(*point)));
    std::iter::once(head).chain(known.map(|point| row(point, spec))).collect()
}

/// One point's name, shape, description and TransformerLens name (`—` if it has none).
pub fn row(point: Point, spec: Option<&Spec>) -> [String; 4] {
    [point.name().to_owned(), shape(point, spec), point.holds().to_owned(), alias(point, spec)]
}

/// `b n d`, or `b n 768` with a model whose hidden size that is.
fn shape(point: Point, spec: Option<&Spec>) -> String {
    let dim = |dim: &Dim| match spec.and_then(|spec| spec.size(*dim)) {
        Some(size) => size.to_string(),
        None => dim.letter().to_owned(),
    };
    point.shape().iter().map(dim).collect::<Vec<_>>().join(" ")
}

fn alias(point: Point, spec: Option<&Spec>) -> String {
    let block = if point.in_block() { "blocks.{i}." } else { "" };
    let rotary = spec.map(|spec| spec.rotary().is_some());
    let Some(alias) = point.alias() else { return "—".into() };
    let both = alias.names_in(rotary).count() > 1;
    let shown = |(name, only): (&str, Option<bool>)| match only {
        Some(true) if rotary.is_none() && both => format!("rotary families {block}{name}"),
        Some(true) if rotary.is_none() => format!("{block}{name} (rotary families)"),
        _ => format!("{block}{name}"),
    };
    let known =
        alias.names().filter(|(_, only)| only.is_none() || rotary.is_none() || *only == rotary);
    known.map(shown).collect::<Vec<_>>().join("; ")
}
