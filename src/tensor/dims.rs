//! Dims and shapes as scripts give them: negative dims and indexes, broadcasting, and sizes checked
//! against the memory limit.

use super::budget;
use crate::{Result, bail, error};

/// The dim of the shape `dims` that `dim` names. A negative `dim` counts from the end.
///
/// # Errors
/// The shape does not have that dim.
pub fn dim(dim: i64, dims: &[usize]) -> Result<usize> {
    resolve(dim, dims.len()).ok_or_else(|| out_of_range(dim, dims))
}

/// The position from 0 to the rank at which a new dim is inserted, as for `torch.unsqueeze`. A
/// negative `dim` counts from the end of the new shape.
///
/// # Errors
/// The position is out of range.
pub fn new_dim(dim: i64, dims: &[usize]) -> Result<usize> {
    let rank = dims.len() as i64;
    resolve(dim, dims.len() + 1).ok_or_else(|| {
        error!(
            "a new dim cannot be at {dim} in a tensor of rank {rank} {dims:?}: expected {}..{rank}",
            -rank - 1
        )
    })
}

/// The dims of the shape `dims` that `named` names, in the same order.
///
/// # Errors
/// The shape does not have one of them, or two names mean the same dim.
pub fn distinct(named: &[i64], dims: &[usize]) -> Result<Vec<usize>> {
    let mut resolved = Vec::with_capacity(named.len());
    for &name in named {
        let dim = self::dim(name, dims)?;
        if resolved.contains(&dim) {
            bail!("dim {dim} is named twice in {named:?}");
        }
        resolved.push(dim);
    }
    Ok(resolved)
}

fn resolve(dim: i64, rank: usize) -> Option<usize> {
    let rank = rank as i64;
    let dim = if dim < 0 { dim.checked_add(rank)? } else { dim };
    (0..rank).contains(&dim).then_some(dim as usize)
}

fn out_of_range(dim: i64, dims: &[usize]) -> crate::Error {
    match dims.len() as i64 {
        0 => error!("dim {dim} is out of range: the tensor has no dims, it is a single number"),
        rank => {
            error!(
                "dim {dim} is out of range for a tensor of rank {rank} {dims:?}: expected {}..{}",
                -rank,
                rank - 1
            )
        }
    }
}

/// The position along dim `dim` of the shape `dims` that `index` names. A negative `index` counts
/// from the end.
///
/// # Errors
/// The index is out of range.
pub fn index(index: i64, dim: usize, dims: &[usize]) -> Result<usize> {
    let size = dims[dim] as i64;
    let place = if index < 0 { index.saturating_add(size) } else { index };
    if (0..size).contains(&place) {
        return Ok(place as usize);
    }
    let error = error!("index {index} is out of range for dim {dim} of a tensor {dims:?}");
    Err(if size == 0 {
        error.help("that dim is empty")
    } else {
        error.help(format!("expected {}..{}", -size, size - 1))
    })
}

/// The shape that `a` and `b` broadcast to, as in NumPy. `what` names the operation in the error.
///
/// # Errors
/// The shapes do not broadcast, or the result exceeds the memory limit.
pub fn broadcast(a: &[usize], b: &[usize], what: &str) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).map_or(1, |i| dims[i]);
    let mut out = Vec::with_capacity(rank);
    for i in 0..rank {
        match (size(a, i), size(b, i)) {
            (x, y) if x == y || y == 1 => out.push(x),
            (1, y) => out.push(y),
            (x, y) => {
                return Err(error!("{what}: shapes {a:?} and {b:?} do not broadcast: {x} against {y}").help(
                    "counted from the last, dims must be equal, or one of them 1; unsqueeze or reshape to line them up",
                ));
            }
        }
    }
    check_size(&out)?;
    Ok(out)
}

/// The shape that a script gives as `sizes`.
///
/// # Errors
/// A size is negative, or the shape exceeds the memory limit.
pub fn shape(sizes: &[i64]) -> Result<Vec<usize>> {
    let dims = sizes
        .iter()
        .map(|&size| {
            usize::try_from(size)
                .map_err(|_| error!("a shape's sizes are 0 or more, and {sizes:?} has {size}"))
        })
        .collect::<Result<Vec<_>>>()?;
    check_size(&dims)?;
    Ok(dims)
}

/// The shape `sizes` for the elements of a tensor of shape `from`, as for `torch.reshape`. One size
/// may be -1 and is then inferred from the others.
///
/// # Errors
/// The number of elements differs, or more than one size is -1.
pub fn reshape(sizes: &[i64], from: &[usize]) -> Result<Vec<usize>> {
    let numel: usize = from.iter().product();
    let mismatch =
        || error!("a tensor {from:?} of {numel} elements cannot be reshaped to {sizes:?}");
    let holes = sizes.iter().filter(|&&size| size == -1).count();
    if holes > 1 {
        return Err(mismatch().help("only one size can be -1"));
    }
    let known: Vec<i64> = sizes.iter().copied().filter(|&size| size != -1).collect();
    let known: usize = shape(&known)?.iter().product();
    let hole = match holes {
        0 if known == numel => 0,
        1 if known != 0 && numel.is_multiple_of(known) => numel / known,
        1 if known == 0 => return Err(mismatch().help("with a size of 0, -1 could be anything")),
        _ => return Err(mismatch()),
    };
    Ok(sizes.iter().map(|&size| if size == -1 { hole } else { size as usize }).collect())
}

/// The strides, in elements, of a contiguous tensor of shape `dims`.
pub fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for i in (1..dims.len()).rev() {
        strides[i - 1] = strides[i] * dims[i];
    }
    strides
}

/// Checks that an f32 tensor of shape `dims` fits in the memory limit.
///
/// A dim of size 0 counts as 1, because a reduction over that dim has as many elements as the other
/// dims say.
///
/// # Errors
/// It does not fit; see [`budget::check`].
pub fn check_size(dims: &[usize]) -> Result<()> {
    /// The size of an f32 element.
    const BYTES: usize = 4;
    let bytes = dims.iter().try_fold(BYTES, |n, &size| n.checked_mul(size.max(1)));
    let Some(bytes) = bytes.filter(|&bytes| isize::try_from(bytes).is_ok()) else {
        bail!("a tensor {dims:?} does not fit in memory");
    };
    budget::check(dims, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.unwrap_err().message().to_owned()
    }

    #[test]
    fn dims_count_from_either_end() {
        assert_eq!(dim(-1, &[4, 5]).unwrap(), 1);
        assert_eq!(new_dim(-1, &[4, 5]).unwrap(), 2);
        assert_eq!(distinct(&[0, -1], &[4, 5, 6]).unwrap(), [0, 2]);
        assert_eq!(
            message(dim(3, &[4, 5])),
            "dim 3 is out of range for a tensor of rank 2 [4, 5]: expected -2..1"
        );
        assert_eq!(
            message(dim(i64::MIN, &[4])),
            format!("dim {} is out of range for a tensor of rank 1 [4]: expected -1..0", i64::MIN)
        );
        assert_eq!(
            message(dim(0, &[])),
            "dim 0 is out of range: the tensor has no dims, it is a single number"
        );
        assert_eq!(message(distinct(&[1, -1], &[4, 5])), "dim 1 is named twice in [1, -1]");
        assert_eq!(index(-4, 0, &[4]).unwrap(), 0);
        assert_eq!(
            message(index(4, 0, &[4, 2])),
            "index 4 is out of range for dim 0 of a tensor [4, 2]"
        );
    }

    #[test]
    fn shapes_broadcast_as_numpys() {
        assert_eq!(broadcast(&[3, 1], &[4], "+").unwrap(), [3, 4]);
        assert_eq!(broadcast(&[0], &[1], "+").unwrap(), [0]);
        assert_eq!(broadcast(&[], &[2, 0], "+").unwrap(), [2, 0]);
        assert_eq!(
            message(broadcast(&[2, 3], &[2], "+")),
            "+: shapes [2, 3] and [2] do not broadcast: 3 against 2"
        );
        assert_eq!(
            message(broadcast(&[0], &[2], "+")),
            "+: shapes [0] and [2] do not broadcast: 0 against 2"
        );
    }

    #[test]
    fn reshape_fills_one_hole() {
        assert_eq!(reshape(&[-1, 3], &[2, 3, 4]).unwrap(), [8, 3]);
        assert_eq!(
            reshape(&[0, -1, 2], &[0]).map_err(|e| e.message().to_owned()).unwrap_err(),
            "a tensor [0] of 0 elements cannot be reshaped to [0, -1, 2]"
        );
        assert_eq!(reshape(&[-1, 2], &[0]).unwrap(), [0, 2]);
        assert_eq!(
            message(reshape(&[-1, 5], &[2, 3])),
            "a tensor [2, 3] of 6 elements cannot be reshaped to [-1, 5]"
        );
        assert_eq!(
            message(reshape(&[-1, -1], &[2, 3])),
            "a tensor [2, 3] of 6 elements cannot be reshaped to [-1, -1]"
        );
    }

    #[test]
    fn a_size_beyond_memory_is_refused() {
        assert_eq!(
            message(shape(&[1 << 40, 1 << 40])),
            "a tensor [1099511627776, 1099511627776] does not fit in memory"
        );
        assert!(shape(&[1 << 20, 0]).is_ok());
        assert!(shape(&[1 << 40, 0, 1 << 40]).is_err());
        assert_eq!(message(shape(&[2, -1])), "a shape's sizes are 0 or more, and [2, -1] has -1");
    }
}
