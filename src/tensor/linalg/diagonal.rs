//! Diagonals: `diag`, `diagonal`, `trace`.

use crate::tensor::index::{gather, shape};
use crate::tensor::reduce::reductions;
use crate::tensor::reduce::reductions::Over;
use crate::tensor::{Value, creation, dims};
use crate::{Result, bail, error};

/// The elements of dims `dim1` and `dim2` that lie `offset` to the right of the diagonal, along a
/// new last dim.
///
/// # Errors
/// Fewer than two dims, or one dim named twice.
pub fn diagonal(value: &Value, offset: i64, dim1: i64, dim2: i64) -> Result<Value> {
    if value.rank() < 2 {
        bail!(
            "diagonal needs at least two dims, and a tensor {:?} has {}",
            value.dims(),
            value.rank()
        );
    }
    let named =
        dims::distinct(&[dim1, dim2], value.dims()).map_err(|error| error.at("diagonal"))?;
    let mut order: Vec<usize> = (0..value.rank()).filter(|dim| !named.contains(dim)).collect();
    order.extend(named);
    let matrices = value.map(|t| t.permute(order.as_slice()))?;
    let (rows, columns) = (matrices.dims()[value.rank() - 2], matrices.dims()[value.rank() - 1]);
    let places = places(rows, columns, offset).map(|(i, j)| (i * columns + j) as i64).collect();
    let flat = shape::flatten(&matrices, -2, -1)?;
    gather::slices(&flat, flat.rank() - 1, places)
}

/// Where the diagonal that lies `offset` to the right of the main one runs through `rows` by
/// `columns`.
fn places(rows: usize, columns: usize, offset: i64) -> impl Iterator<Item = (usize, usize)> {
    let shift = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
    let (down, right) = if offset < 0 { (shift, 0) } else { (0, shift) };
    let count = rows.saturating_sub(down).min(columns.saturating_sub(right));
    (0..count).map(move |i| (i + down, i + right))
}

/// A matrix's diagonal, or of a vector the matrix that has it as its diagonal and zeros elsewhere.
///
/// # Errors
/// Other than one or two dims.
pub fn diag(value: &Value, offset: i64) -> Result<Value> {
    match *value.dims() {
        [_, _] => diagonal(value, offset, 0, 1),
        [n] => {
            let shift =
                i64::try_from(n).unwrap_or(i64::MAX).saturating_add(offset.saturating_abs());
            let size = dims::shape(&[shift, shift])?[0];
            let mut sources = vec![n as i64; size * size];
            for (from, (i, j)) in places(size, size, offset).enumerate() {
                sources[i * size + j] = from as i64;
            }
            let zero = creation::zeros(&[1], crate::tensor::Kind::of(value), value.device())?;
            let flat = gather::slices(&shape::cat(&[value.clone(), zero], 0)?, 0, sources)?;
            flat.map(|t| t.reshape((size, size)))
        }
        _ => Err(error!("diag needs a vector or a matrix, not a tensor {:?}", value.dims())
            .help("x.diagonal(0, -2, -1) gives the diagonals of a batch of matrices")),
    }
}

/// The sum of a matrix's diagonal.
///
/// # Errors
/// Other than two dims.
pub fn trace(value: &Value) -> Result<Value> {
    if value.rank() != 2 {
        return Err(error!("trace needs a matrix, not a tensor {:?}", value.dims())
            .help("x.diagonal(0, -2, -1).sum(-1) gives those of a batch of matrices"));
    }
    reductions::sum(&diagonal(value, 0, 0, 1)?, Over::default())
}
