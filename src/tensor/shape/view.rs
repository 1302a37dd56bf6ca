//! The same elements in another shape or another order of dims, without a copy where possible:
//! `reshape`, `transpose`, `permute`, `unsqueeze`, `squeeze`, `flatten`, `expand`.

use crate::tensor::{Value, dims};
use crate::{Result, bail, error};

/// `torch.reshape`: the same elements in another shape. One size may be -1 and is inferred.
///
/// # Errors
/// The number of elements differs, or more than one size is -1.
pub fn reshape(value: &Value, sizes: &[i64]) -> Result<Value> {
    let to = dims::reshape(sizes, value.dims())?;
    value.map(|t| t.reshape(to.as_slice()))
}

/// `torch.transpose`: dims `i` and `j` swapped.
///
/// # Errors
/// The tensor does not have one of the dims.
pub fn transpose(value: &Value, i: i64, j: i64) -> Result<Value> {
    let (i, j) = (dims::dim(i, value.dims())?, dims::dim(j, value.dims())?);
    value.map(|t| t.transpose(i, j))
}

/// `torch.t`: a matrix transposed. A tensor of fewer than two dims is returned as it is.
///
/// # Errors
/// The tensor has more than two dims.
pub fn t(value: &Value) -> Result<Value> {
    match value.rank() {
        0 | 1 => Ok(value.clone()),
        2 => value.map(|t| t.t()),
        rank => Err(error!("T turns a matrix, and a tensor {:?} has {rank} dims", value.dims())
            .help(
                "x.transpose(-2, -1) turns each matrix of a batch, x.permute(…) takes any order",
            )),
    }
}

/// `torch.permute`: the dims in the given order.
///
/// # Errors
/// `order` does not name each dim exactly once.
pub fn permute(value: &Value, order: &[i64]) -> Result<Value> {
    if order.len() != value.rank() {
        bail!(
            "permute needs each of the {} dims of {:?} once, and got {order:?}",
            value.rank(),
            value.dims()
        );
    }
    let order = dims::distinct(order, value.dims())?;
    value.map(|t| if order.is_empty() { Ok(t.clone()) } else { t.permute(order.as_slice()) })
}

/// `torch.unsqueeze`: a new dim of size 1 at position `dim`.
///
/// # Errors
/// The position is out of range.
pub fn unsqueeze(value: &Value, dim: i64) -> Result<Value> {
    let dim = dims::new_dim(dim, value.dims())?;
    value.map(|t| t.unsqueeze(dim))
}

/// `torch.squeeze`: without those of the `named` dims, by default of all dims, whose size is 1.
///
/// # Errors
/// The tensor does not have one of the dims, or one is named twice.
pub fn squeeze(value: &Value, named: Option<&[i64]>) -> Result<Value> {
    let named = match named {
        Some(named) => dims::distinct(named, value.dims())?,
        None => (0..value.rank()).collect(),
    };
    let mut kept = Vec::new();
    for (i, &size) in value.dims().iter().enumerate() {
        if size != 1 || !named.contains(&i) {
            kept.push(size);
        }
    }
    value.map(|t| t.reshape(kept.as_slice()))
}

/// `torch.flatten`: the dims from `start` to `end`, both included, as one. A tensor of rank 0
/// becomes a vector.
///
/// # Errors
/// The tensor does not have one of the dims, or `start` comes after `end`.
pub fn flatten(value: &Value, start: i64, end: i64) -> Result<Value> {
    let sizes = value.dims();
    if sizes.is_empty() {
        return value.map(|t| t.reshape(1));
    }
    let (start, end) = (dims::dim(start, sizes)?, dims::dim(end, sizes)?);
    if start > end {
        bail!("flatten cannot go from dim {start} to dim {end}");
    }
    let mut to = sizes[..start].to_vec();
    to.push(sizes[start..=end].iter().product());
    to.extend(&sizes[end + 1..]);
    value.map(|t| t.reshape(to.as_slice()))
}

/// `torch.expand`: dims of size 1 broadcast to `sizes`, without a copy. A size of -1 keeps the dim;
/// more sizes than dims add dims in front.
///
/// # Errors
/// A dim whose size is not 1 would change, or the result exceeds the memory limit.
pub fn expand(value: &Value, sizes: &[i64]) -> Result<Value> {
    let from = value.dims();
    let mismatch = || {
        error!("a tensor {from:?} cannot be expanded to {sizes:?}")
            .help("only dims of size 1 widen")
    };
    let new = sizes.len().checked_sub(from.len()).ok_or_else(mismatch)?;
    let mut to = Vec::with_capacity(sizes.len());
    for (i, &size) in sizes.iter().enumerate() {
        let old = i.checked_sub(new).map(|i| from[i]);
        to.push(match (old, usize::try_from(size)) {
            (Some(old), _) if size == -1 => old,
            (Some(old), Ok(size)) if old == size || old == 1 => size,
            (None, Ok(size)) => size,
            _ => return Err(mismatch()),
        });
    }
    dims::check_size(&to)?;
    value.map(|t| t.broadcast_as(to.as_slice()))
}
