//! Slices repeated or in another order: `repeat`, `repeat_interleave`, `flip`, `roll`.

use super::view::flatten;
use crate::tensor::index::select;
use crate::tensor::{Value, dims};
use crate::{Result, bail};

/// `torch.Tensor.repeat`, `numpy.tile`: the whole tensor repeated `counts` times along each dim.
/// More counts than dims add dims in front.
///
/// # Errors
/// There are fewer counts than dims; a count is negative; the result exceeds the memory limit.
pub fn repeat(value: &Value, counts: &[i64]) -> Result<Value> {
    let counts = dims::shape(counts)?;
    let Some(new) = counts.len().checked_sub(value.rank()) else {
        bail!(
            "repeat needs a count for each of the {} dims of {:?}, and got {counts:?}",
            value.rank(),
            value.dims()
        );
    };
    let mut sizes = vec![1; new];
    sizes.extend(value.dims());
    let apart: Vec<usize> = sizes.iter().flat_map(|&size| [1, size]).collect();
    let wide: Vec<usize> =
        counts.iter().zip(&sizes).flat_map(|(&count, &size)| [count, size]).collect();
    let out: Vec<usize> =
        counts.iter().zip(&sizes).map(|(&count, &size)| count.saturating_mul(size)).collect();
    dims::check_size(&out)?;
    value.map(|t| {
        t.reshape(apart.as_slice())?.broadcast_as(wide.as_slice())?.reshape(out.as_slice())
    })
}

/// `torch.repeat_interleave`: each slice along `dim` repeated in place, with one count for all
/// slices or one for each.
///
/// # Errors
/// A count is negative; there is neither one count nor one for each slice; the result exceeds the
/// memory limit.
pub fn repeat_interleave(value: &Value, counts: &[i64], dim: i64) -> Result<Value> {
    let at = dims::dim(dim, value.dims())?;
    let size = value.dims()[at];
    let counts = dims::shape(counts)?;
    let count = |i: usize| if counts.len() == 1 { counts[0] } else { counts[i] };
    if counts.len() != 1 && counts.len() != size {
        bail!(
            "repeat_interleave: {} counts for {size} slices along dim {at} of {:?}",
            counts.len(),
            value.dims()
        );
    }
    let mut out = value.dims().to_vec();
    out[at] = (0..size).fold(0usize, |sum, i| sum.saturating_add(count(i)));
    dims::check_size(&out)?;
    let ids: Vec<i64> = (0..size).flat_map(|i| std::iter::repeat_n(i as i64, count(i))).collect();
    select::slices(value, at, ids)
}

/// `torch.flip`: the slices in reverse order along the given dims.
///
/// # Errors
/// The tensor does not have one of the dims, or one is named twice.
pub fn flip(value: &Value, named: &[i64]) -> Result<Value> {
    let mut out = value.clone();
    for dim in dims::distinct(named, value.dims())? {
        out = select::slices(&out, dim, (0..value.dims()[dim] as i64).rev().collect())?;
    }
    Ok(out)
}

/// `torch.roll`: the elements shifted cyclically along each of the named dims, or in row-major
/// order without dims.
///
/// # Errors
/// There is not one shift for each dim, or the tensor does not have one of them.
pub fn roll(value: &Value, shifts: &[i64], named: Option<&[i64]>) -> Result<Value> {
    let Some(named) = named else {
        let [shift] = shifts else { bail!("roll without dims needs one shift, not {shifts:?}") };
        let flat = flatten(value, 0, -1)?;
        let rolled = roll_dim(&flat, *shift, 0)?;
        return rolled.map(|t| t.reshape(value.dims()));
    };
    if shifts.len() != named.len() {
        bail!("roll needs one shift for each dim, not {shifts:?} for {named:?}");
    }
    let mut out = value.clone();
    for (&shift, &dim) in shifts.iter().zip(named) {
        out = roll_dim(&out, shift, dims::dim(dim, value.dims())?)?;
    }
    Ok(out)
}

fn roll_dim(value: &Value, shift: i64, dim: usize) -> Result<Value> {
    let size = value.dims()[dim] as i64;
    if size == 0 || shift.rem_euclid(size) == 0 {
        return Ok(value.clone());
    }
    let start = size - shift.rem_euclid(size);
    select::slices(value, dim, (start..size).chain(0..start).collect())
}
