//! Operations that move elements and change none. A result shares its argument's storage where it
//! can.

use candle_core::Tensor;

use super::gather;
use crate::tensor::elementwise::loops;
use crate::tensor::{Complex, Kind, Value, device, dims, dtype};
use crate::{Result, bail, error};

/// The same elements in another shape, in which one size may be -1.
///
/// # Errors
/// A shape of another number of elements.
pub fn reshape(value: &Value, sizes: &[i64]) -> Result<Value> {
    let to = dims::reshape(sizes, value.dims())?;
    value.map(|t| t.reshape(to.as_slice()))
}

/// Dims `i` and `j` change places.
pub fn transpose(value: &Value, i: i64, j: i64) -> Result<Value> {
    let (i, j) = (dims::dim(i, value.dims())?, dims::dim(j, value.dims())?);
    value.map(|t| t.transpose(i, j))
}

/// A matrix with rows for columns; fewer than two dims as they are.
///
/// # Errors
/// More than two dims.
pub fn turned(value: &Value) -> Result<Value> {
    match value.rank() {
        0 | 1 => Ok(value.clone()),
        2 => value.map(|t| t.t()),
        rank => Err(error!("T turns a matrix, and a tensor {:?} has {rank} dims", value.dims())
            .help(
                "x.transpose(-2, -1) turns each matrix of a batch, x.permute(…) takes any order",
            )),
    }
}

/// The dims in the given order.
///
/// # Errors
/// An order that does not name each dim once.
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

/// A new dim of size 1 at `dim`.
pub fn unsqueeze(value: &Value, dim: i64) -> Result<Value> {
    let dim = dims::new_dim(dim, value.dims())?;
    value.map(|t| t.unsqueeze(dim))
}

/// Without those of the given dims (of all dims) whose size is 1.
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

/// Dims `start` to `end`, both included, as one.
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

/// One after the other along `dim`, in the dtype that holds them all.
///
/// # Errors
/// No tensors, or shapes that differ in more than `dim`.
pub fn cat(values: &[Value], dim: i64) -> Result<Value> {
    let values = common(values, "cat")?;
    // PyTorch lets a tensor [0] stand for nothing beside tensors of any shape.
    let mut full: Vec<&Value> = values.iter().filter(|v| v.dims() != [0]).collect();
    if full.is_empty() {
        full = values.iter().take(1).collect();
    }
    let first = full[0].dims();
    let dim = dims::dim(dim, first)?;
    for value in &full {
        let fits = value.rank() == first.len()
            && (0..first.len()).all(|i| i == dim || value.dims()[i] == first[i]);
        if !fits {
            bail!("cat along dim {dim}: shapes {first:?} and {:?} differ elsewhere", value.dims());
        }
    }
    let mut shape = first.to_vec();
    shape[dim] = full.iter().map(|v| v.dims()[dim]).sum();
    join(&full, |parts| {
        let parts =
            parts.iter().map(|t| t.contiguous()).collect::<candle_core::Result<Vec<_>>>()?;
        match parts.first() {
            Some(first) if shape.contains(&0) => Ok(first.reshape(shape.as_slice())?),
            Some(first) if first.device().is_cpu() => loops::cat(&parts, dim, &shape),
            _ => Ok(Tensor::cat(&parts, dim)?),
        }
    })
}

/// Tensors of one shape as the slices of a new dim.
///
/// # Errors
/// No tensors, or shapes that differ.
pub fn stack(values: &[Value], dim: i64) -> Result<Value> {
    let Some(first) = values.first() else { return Err(nothing_to_join("stack")) };
    let dim = dims::new_dim(dim, first.dims())?;
    if let Some(other) = values.iter().find(|v| v.dims() != first.dims()) {
        bail!("stack needs tensors of one shape, not {:?} and {:?}", first.dims(), other.dims());
    }
    let widened = values.iter().map(|v| v.map(|t| t.unsqueeze(dim))).collect::<Result<Vec<_>>>()?;
    cat(&widened, dim as i64)
}

/// The values in one dtype, which must be on one device.
fn common(values: &[Value], call: &str) -> Result<Vec<Value>> {
    let Some(first) = values.first() else { return Err(nothing_to_join(call)) };
    if let Some(other) = values.iter().find(|v| !v.device().same_device(first.device())) {
        let (a, b) = (device::name(first.device()), device::name(other.device()));
        return Err(error!("{call}: one tensor is on {a}, another on {b}")
            .help(format!("move it, with .to({a:?})")));
    }
    let kind = values.iter().map(Kind::of).reduce(Kind::promote).unwrap_or(Kind::F32);
    values.iter().map(|v| dtype::cast(v, kind)).collect()
}

fn nothing_to_join(call: &str) -> crate::Error {
    error!("{call} needs at least one tensor").help(format!("{call}([a, b], dim)"))
}

/// `f` of the tensors that values of one kind are made of.
fn join(values: &[&Value], f: impl Fn(&[&Tensor]) -> Result<Tensor>) -> Result<Value> {
    let part = |i: usize| f(&values.iter().map(|v| v.parts()[i]).collect::<Vec<_>>());
    Ok(match values[0] {
        Value::Real(_) => Value::Real(part(0)?),
        Value::Bool(_) => Value::Bool(part(0)?),
        Value::Complex(_) => Value::Complex(Complex { re: part(0)?, im: part(1)? }),
    })
}

/// Pieces of the given sizes along `dim`.
///
/// # Errors
/// Sizes that do not add up to the dim's.
pub fn split_sizes(value: &Value, sizes: &[i64], dim: i64) -> Result<Vec<Value>> {
    let at = dims::dim(dim, value.dims())?;
    let whole = value.dims()[at];
    let sizes = dims::shape(sizes)?;
    if sizes.iter().sum::<usize>() != whole {
        bail!(
            "split: sizes {sizes:?} do not add up to {whole}, the size of dim {at} of {:?}",
            value.dims()
        );
    }
    let mut start = 0;
    let mut pieces = Vec::with_capacity(sizes.len());
    for size in sizes {
        pieces.push(value.map(|t| t.narrow(at, start, size))?);
        start += size;
    }
    Ok(pieces)
}

/// Pieces of `size` along `dim`, the last one smaller where it does not divide.
///
/// # Errors
/// A size below 1.
pub fn split(value: &Value, size: i64, dim: i64) -> Result<Vec<Value>> {
    let at = dims::dim(dim, value.dims())?;
    if size < 1 {
        bail!("split needs pieces of at least 1, not {size}");
    }
    let whole = value.dims()[at] as i64;
    let mut sizes = vec![size; (whole / size) as usize];
    if whole % size > 0 || whole == 0 {
        sizes.push(whole % size);
    }
    split_sizes(value, &sizes, at as i64)
}

/// At most `count` pieces along `dim`, equally large but for the last.
///
/// # Errors
/// A count below 1.
pub fn chunk(value: &Value, count: i64, dim: i64) -> Result<Vec<Value>> {
    let at = dims::dim(dim, value.dims())?;
    if count < 1 {
        bail!("chunk needs at least 1 piece, not {count}");
    }
    split(value, (value.dims()[at] as u64).div_ceil(count as u64).max(1) as i64, dim)
}

/// The whole tensor so many times along each dim; more counts than dims add dims in front.
///
/// # Errors
/// Fewer counts than dims, or a negative one.
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

/// Each slice along `dim` so many times in a row: one count for all, or one for each.
///
/// # Errors
/// A negative count, or as many counts as neither 1 nor the dim's size.
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
    gather::slices(value, at, ids)
}

/// Dims of size 1 widened to `sizes`, without a copy; -1 leaves a dim as it is, more sizes add dims
/// in front.
///
/// # Errors
/// A dim of another size than 1 that would change.
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

/// In reverse order along the given dims.
pub fn flip(value: &Value, named: &[i64]) -> Result<Value> {
    let mut out = value.clone();
    for dim in dims::distinct(named, value.dims())? {
        out = gather::slices(&out, dim, (0..value.dims()[dim] as i64).rev().collect())?;
    }
    Ok(out)
}

/// Shifted along each of the dims, what falls off at the end coming back in front; without dims as
/// if it were flat.
///
/// # Errors
/// Not one shift for each dim.
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
    gather::slices(value, dim, (start..size).chain(0..start).collect())
}

/// The lower triangle of the last two dims, up to the `diagonal`th above the main one; zeros
/// elsewhere.
pub fn tril(value: &Value, diagonal: i64) -> Result<Value> {
    triangle(value, "tril", |row, column| column.saturating_sub(row) <= diagonal)
}

/// The upper triangle of the last two dims, from the `diagonal`th above the main one; zeros
/// elsewhere.
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
    let mask = crate::tensor::elementwise::loops::place(mask, &[rows, columns], value.device())?;
    let zero = crate::tensor::creation::zeros(&[], Kind::of(value), value.device())?;
    gather::choose(&mask, value, &zero)
}
