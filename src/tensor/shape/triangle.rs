//! Triangles of matrices, the last two dims: `tril`, `triu`.

use crate::tensor::index::masked;
use crate::tensor::{Kind, Value, creation, elements};
use crate::{Result, bail};

/// `torch.tril`: the elements on and below the diagonal that lies `diagonal` above the main one;
/// zeros elsewhere.
///
/// # Errors
/// The tensor has fewer than two dims.
pub fn tril(value: &Value, diagonal: i64) -> Result<Value> {
    triangle(value, "tril", |row, column| column.saturating_sub(row) <= diagonal)
}

/// `torch.triu`: the elements on and above the diagonal that lies `diagonal` above the main one;
/// zeros elsewhere.
///
/// # Errors
/// The tensor has fewer than two dims.
pub fn triu(value: &Value, diagonal: i64) -> Result<Value> {
    triangle(value, "triu", |row, column| column.saturating_sub(row) >= diagonal)
}

fn triangle(value: &Value, call: &str, keep: impl Fn(i64, i64) -> bool) -> Result<Value> {
    let [.., rows, columns] = *value.dims() else {
        bail!("{call} needs a tensor of at least 2 dims, not {:?}", value.dims());
    };
    let mask =
        (0..rows).flat_map(|row| (0..columns).map(move |column| (row as i64, column as i64)));
    let mask: Vec<u8> = mask.map(|(row, column)| keep(row, column).into()).collect();
    let mask = elements::from_vec(mask, &[rows, columns], value.device())?;
    let zero = creation::zeros(&[], Kind::of(value), value.device())?;
    masked::choose(&mask, value, &zero)
}
