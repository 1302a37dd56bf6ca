//! `heatmap`, `attention`, `text`: pictures of numbers as colours, read from a script's values.

use rhai::{Array, Dynamic, Map};

use super::super::numbers::{floats, labels, matrix, numbers};
use super::{Named, name, text};
use crate::output::picture;
use crate::output::picture::{Attention, Bounds, Heatmap, Picture, Text};
use crate::script::value::Handle;
use crate::script::value::options::{Options, describe};
use crate::{Result, bail, error};

pub(super) fn heatmap(values: &Dynamic, options: Map) -> Result<Named> {
    let options = Options::new(
        "heatmap",
        options,
        &["title", "x", "y", "xlabel", "ylabel", "name", "text", "min", "max"],
    )?;
    let values = matrix(values, "heatmap")?;
    let (rows, columns) = (values.len(), values.first().map_or(0, Vec::len));
    let axis = |name: &str, count: usize| -> Result<Vec<String>> {
        let labels =
            labels(options.get(name).as_ref(), &format!("heatmap: {name}"))?.unwrap_or_default();
        if !labels.is_empty() && labels.len() != count {
            bail!(
                "heatmap: {name} has {} labels for {count} {}",
                labels.len(),
                if name == "x" { "columns" } else { "rows" }
            );
        }
        Ok(labels)
    };
    let heatmap = Heatmap {
        title: text(&options, "title")?,
        xlabel: text(&options, "xlabel")?,
        ylabel: text(&options, "ylabel")?,
        x: axis("x", columns)?,
        y: axis("y", rows)?,
        values,
        text: texts(options.get("text").as_ref())?,
        bounds: Bounds { min: options.float("min")?, max: options.float("max")? },
    };
    Ok((Picture::Heatmap(heatmap), name(&options)?))
}

/// Rows of strings, from an array of arrays or a tensor \[n, m\] of numbers.
fn texts(value: Option<&Dynamic>) -> Result<Vec<Vec<String>>> {
    let Some(value) = value else { return Ok(vec![]) };
    if value.is::<Handle>() {
        let rows = matrix(value, "heatmap: text")?;
        return Ok(rows
            .into_iter()
            .map(|row| row.into_iter().map(picture::number).collect())
            .collect());
    }
    let Some(rows) = value.read_lock::<Array>() else {
        bail!("heatmap: text must be an array of rows of strings, not {}", describe(value))
    };
    rows.iter()
        .map(|row| Ok(labels(Some(row), "heatmap: a row of text")?.unwrap_or_default()))
        .collect()
}

pub(super) fn attention(tokens: &Dynamic, pattern: &Dynamic, options: Map) -> Result<Named> {
    let options = Options::new("attention", options, &["title", "keys", "name"])?;
    let tokens = labels(Some(tokens), "attention: tokens")?.unwrap_or_default();
    let Some(handle) = pattern.read_lock::<Handle>() else {
        bail!("attention shows a pattern [n, m] or [h, n, m], not {}", describe(pattern))
    };
    let value = handle.value();
    let dims = value.dims();
    let (h, n, m) = match *dims {
        [n, m] => (1, n, m),
        [h, n, m] => (h, n, m),
        _ => {
            return Err(error!("attention shows a pattern [n, m] or [h, n, m], not {dims:?}")
                .help("take one text of the batch, as in pattern[0]"));
        }
    };
    let keys =
        labels(options.get("keys").as_ref(), "attention: keys")?.unwrap_or_else(|| tokens.clone());
    if tokens.len() != n || keys.len() != m {
        bail!(
            "attention: the pattern is {dims:?}, and there are {} tokens and {} keys",
            tokens.len(),
            keys.len()
        );
    }
    let flat = floats(&value, "attention")?;
    let row = |head: usize, query: usize| {
        flat[(head * n + query) * m..(head * n + query + 1) * m].to_vec()
    };
    let heads = (0..h).map(|head| (0..n).map(|query| row(head, query)).collect()).collect();
    let title =
        options.string("title")?.map_or_else(|| "Attention".into(), |title| title.to_string());
    let picture = Picture::Attention(Attention { tokens, keys, heads, title });
    Ok((picture, name(&options)?))
}

/// The picture of `text(tokens, values, options)`.
pub(super) fn tokens(tokens: &Dynamic, values: &Dynamic, options: Map) -> Result<Named> {
    let options = Options::new("text", options, &["title", "labels", "name"])?;
    let tokens = labels(Some(tokens), "text: tokens")?.unwrap_or_default();
    let rank = values.read_lock::<Handle>().map(|handle| handle.value().rank());
    let nested = values.read_lock::<Array>().is_some_and(|rows| {
        rows.first().is_some_and(|row| {
            row.is::<Array>() || row.read_lock::<Handle>().is_some_and(|row| row.value().rank() > 0)
        })
    });
    let rows = match rank {
        Some(2) => matrix(values, "text")?,
        Some(1) => vec![numbers(values, "text")?],
        Some(_) => {
            let dims = values.read_lock::<Handle>().map(|handle| handle.value().dims().to_vec());
            bail!(
                "text colours tokens by [n] or [k, n] numbers, not {:?}",
                dims.unwrap_or_default()
            )
        }
        None if nested => matrix(values, "text")?,
        None => vec![numbers(values, "text")?],
    };
    if let Some(row) = rows.iter().find(|row| row.len() != tokens.len()) {
        bail!("text: there are {} tokens and {} numbers", tokens.len(), row.len());
    }
    let picture = Picture::Text(Text {
        title: text(&options, "title")?,
        tokens,
        values: rows,
        rows: labels(options.get("labels").as_ref(), "text: labels")?.unwrap_or_default(),
    });
    Ok((picture, name(&options)?))
}
