//! Diagonals: `diag`, `diagonal`, `trace`.

use crate::tensor::index::select;
use crate::tensor::reduce::over::Over;
use crate::tensor::reduce::sums;
use crate::tensor::shape::{join, view};
use crate::tensor::{Value, creation, dims};
use crate::{Result, bail, error};

/// `torch.diagonal`: the elements on the diagonal of dims `dim1` and `dim2` that lies `offset`
/// above the main one, along a new last dim. Unlike in PyTorch they are copied.
///
/// # Errors
/// The tensor has fewer than two dims or does not have one of those named, or both are the same
/// dim.
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
    let flat = view::flatten(&matrices, -2, -1)?;
    select::slices(&flat, flat.rank() - 1, places)
}

/// The positions (row, column) on the diagonal that lies `offset` above the main one of a matrix
/// `[rows, columns]`.
fn places(rows: usize, columns: usize, offset: i64) -> impl Iterator<Item = (usize, usize)> {
    let shift = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
    let (down, right) = if offset < 0 { (shift, 0) } else { (0, shift) };
    let count = rows.saturating_sub(down).min(columns.saturating_sub(right));
    (0..count).map(move |i| (i + down, i + right))
}

/// `torch.diag`: the diagonal of a matrix that lies `offset` above the main one, or for a vector
/// the square matrix with the vector as that diagonal and zeros elsewhere.
///
/// # Errors
/// The tensor has neither one nor two dims, or the result exceeds the memory limit.
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
            let flat = select::slices(&join::cat(&[value.clone(), zero], 0)?, 0, sources)?;
            flat.map(|t| t.reshape((size, size)))
        }
        _ => Err(error!("diag needs a vector or a matrix, not a tensor {:?}", value.dims())
            .help("x.diagonal(0, -2, -1) gives the diagonals of a batch of matrices")),
    }
}

/// `torch.trace`: the sum of the diagonal of a matrix.
///
/// # Errors
/// The tensor does not have two dims.
pub fn trace(value: &Value) -> Result<Value> {
    if value.rank() != 2 {
        return Err(error!("trace needs a matrix, not a tensor {:?}", value.dims())
            .help("x.diagonal(0, -2, -1).sum(-1) gives those of a batch of matrices"));
    }
    sums::sum(&diagonal(value, 0, 0, 1)?, Over::default())
}
