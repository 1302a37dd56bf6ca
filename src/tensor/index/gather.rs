//! Elements and slices by number or by mask: `narrow`, `gather`, `scatter`, `masked_fill`, `where`,
//! `nonzero`.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Tensor, WithDType};

use crate::kernel::cpu::parallel;
use crate::tensor::elementwise::arithmetic::empty;
use crate::tensor::elementwise::loops;
use crate::tensor::elementwise::loops::by_dtype;
use crate::tensor::operand::Operand;
use crate::tensor::reduce::fold::with_slice;
use crate::tensor::{Complex, Kind, Value, dims, dtype, operand};
use crate::{Result, bail, error};

/// `len` slices along `dim` from `start` on.
///
/// # Errors
/// A piece that reaches beyond the dim.
pub fn narrow(value: &Value, dim: i64, start: i64, len: i64) -> Result<Value> {
    let at = dims::dim(dim, value.dims())?;
    let size = value.dims()[at] as i64;
    let first = if start < 0 { start.saturating_add(size) } else { start };
    if first < 0 || len < 0 || first.saturating_add(len) > size {
        bail!(
            "narrow: {len} from {start} on reaches beyond dim {at} of a tensor {:?}",
            value.dims()
        );
    }
    value.map(|t| t.narrow(at, first as usize, len as usize))
}

/// The slice at `index` along `dim`, without that dim.
pub fn select(value: &Value, dim: i64, index: i64) -> Result<Value> {
    let at = dims::dim(dim, value.dims())?;
    let index = dims::index(index, at, value.dims())?;
    value.map(|t| t.narrow(at, index, 1)?.squeeze(at))
}

/// The slices along `dim` that `ids`, of one dim, number.
///
/// # Errors
/// `ids` that are no integers or have several dims, or an id out of range.
pub fn index_select(value: &Value, dim: i64, ids: &Value) -> Result<Value> {
    let at = dims::dim(dim, value.dims())?;
    if ids.rank() > 1 {
        bail!("index_select needs ids of one dim, not {:?}", ids.dims());
    }
    slices(value, at, places(ids, at, value.dims(), "index_select")?)
}

/// The slices along `dim` at places known to exist.
pub(crate) fn slices(value: &Value, dim: usize, places: Vec<i64>) -> Result<Value> {
    let mut shape = value.dims().to_vec();
    shape[dim] = places.len();
    if shape.contains(&0) {
        return empty(&shape, Kind::of(value), value.device());
    }
    if value.device().is_cpu() {
        return value.map_parts(|t| by_dtype!(t, T => selected::<T>(t, dim, &places, &shape)));
    }
    let ids = loops::place(places, &[shape[dim]], value.device())?;
    value.map(|t| t.contiguous()?.index_select(&ids, dim))
}

fn selected<T: WithDType>(
    from: &Tensor,
    dim: usize,
    places: &[i64],
    shape: &[usize],
) -> Result<Tensor> {
    let (size, inner) = (from.dims()[dim], shape[dim + 1..].iter().product::<usize>());
    let out = with_slice(from, |elements: &[T]| {
        let fill = |out: &mut [MaybeUninit<T>]| {
            parallel::rows(out, inner, inner, |row, out| {
                let first =
                    (row / places.len() * size + places[row % places.len()] as usize) * inner;
                out.write_copy_of_slice(&elements[first..first + inner]);
            });
        };
        // SAFETY: the rows are all of it.
        unsafe { loops::made(shape.iter().product(), fill) }
    })?;
    loops::place(out, shape, from.device())
}

/// The numbers in `ids`, each resolved to a place along `dim` of a tensor of `sizes`.
///
/// # Errors
/// Ids that are no integers, or out of range.
pub(crate) fn places(ids: &Value, dim: usize, sizes: &[usize], call: &str) -> Result<Vec<i64>> {
    let kind = Kind::of(ids);
    if !matches!(kind, Kind::U8 | Kind::U32 | Kind::I64) {
        return Err(error!("{call} needs integers for ids, not {}", kind.name())
            .help("convert them, with .to(\"i64\")"));
    }
    let mut ids = loops::host::<i64>(&ids.real(call)?.to_dtype(DType::I64)?)?;
    let size = sizes[dim] as i64;
    let wrong = AtomicBool::new(false);
    parallel::chunks(&mut ids, parallel::CHUNK, |_, ids| {
        for id in ids {
            if !(-size..size).contains(id) {
                wrong.store(true, Ordering::Relaxed);
                return;
            }
            *id += if *id < 0 { size } else { 0 };
        }
    });
    if wrong.into_inner()
        && let Some(&id) = ids.iter().find(|id| !(-size..size).contains(*id))
    {
        return Err(dims::index(id, dim, sizes)
            .err()
            .unwrap_or_else(|| error!("{call}: no id {id}")));
    }
    Ok(ids)
}

/// `out[i][j][k] = x[i][ids[i][j][k]][k]` for `dim` 1, and likewise for any other.
///
/// # Errors
/// `ids` of another rank, larger than `value` but along `dim`, no integers or out of range.
pub fn gather(value: &Value, dim: i64, ids: &Value) -> Result<Value> {
    let at = dims::dim(dim, value.dims())?;
    let walk = Walk::new(value.dims(), at, ids.dims(), "gather")?;
    if ids.numel() == 0 {
        walk.places(ids, "gather")?;
        return empty(ids.dims(), Kind::of(value), value.device());
    }
    if value.device().is_cpu() && ids.device().is_cpu() && Kind::of(ids) == Kind::I64 {
        let ids = ids.real("gather")?;
        return value.map_parts(|t| by_dtype!(t, T => gathered::<T>(t, ids, &walk)));
    }
    let flat = walk.places(ids, "gather")?;
    let flat = loops::place(flat, &[ids.numel()], value.device())?;
    value.map(|t| t.flatten_all()?.index_select(&flat, 0)?.reshape(ids.dims()))
}

/// A copy in which `out[i][ids[i][j][k]][k] = source[i][j][k]` for `dim` 1, and likewise for any
/// other. Where ids repeat, which one stays is left open.
///
/// # Errors
/// As [`gather`]'s, and a `source` smaller than `ids` or complex where `value` is not.
pub fn scatter(value: &Value, dim: i64, ids: &Value, source: Operand) -> Result<Value> {
    let at = dims::dim(dim, value.dims())?;
    let flat = Walk::new(value.dims(), at, ids.dims(), "scatter")?.places(ids, "scatter")?;
    let out = value.deep_copy()?;
    if flat.is_empty() {
        return Ok(out);
    }
    let source = match source {
        Operand::Number(number) => {
            number.check_holds(Kind::of(value))?;
            number.value(Kind::of(value), value.device())?.map(|t| t.broadcast_as(ids.dims()))?
        }
        Operand::Tensor(tensor) => {
            let fits = tensor.rank() == ids.rank()
                && tensor.dims().iter().zip(ids.dims()).all(|(have, need)| have >= need);
            if !fits {
                bail!(
                    "scatter: ids {:?} need a source at least as large, not {:?}",
                    ids.dims(),
                    tensor.dims()
                );
            }
            let mut piece =
                operand::transfer(&dtype::cast(tensor, Kind::of(value))?, value.device())?;
            for (i, &size) in ids.dims().iter().enumerate() {
                piece = piece.map(|t| t.narrow(i, 0, size))?;
            }
            piece
        }
    };
    let flat = loops::place(flat, &[ids.numel()], value.device())?;
    for (to, from) in out.parts().into_iter().zip(source.parts()) {
        to.flatten_all()?.scatter_set(&flat, &from.flatten_all()?, 0)?;
    }
    Ok(out)
}

/// The elements that the ids (i64) lead to.
fn gathered<T: WithDType>(from: &Tensor, ids: &Tensor, walk: &Walk) -> Result<Tensor> {
    let (size, stride) = (walk.sizes[walk.dim] as i64, walk.strides[walk.dim]);
    let astray = AtomicBool::new(false);
    let out = with_slice(from, |elements: &[T]| {
        with_slice(ids, |ids: &[i64]| {
            let fill = |out: &mut [MaybeUninit<T>]| {
                parallel::rows(out, walk.columns, walk.columns, |row, out| {
                    let (first, ids) = (walk.first(row), &ids[row * walk.columns..]);
                    let out = loops::blanked(out, T::zero());
                    for (column, (out, &id)) in out.iter_mut().zip(ids).enumerate() {
                        let place = if id < 0 { id + size } else { id };
                        if !(0..size).contains(&place) {
                            return astray.store(true, Ordering::Relaxed);
                        }
                        *out = elements[first + column * walk.step + place as usize * stride];
                    }
                });
            };
            // SAFETY: the rows are all of it.
            unsafe { loops::made(ids.len(), fill) }
        })
    })??;
    if astray.into_inner() {
        walk.places(&Value::Real(ids.clone()), "gather")?;
    }
    loops::place(out, walk.id_sizes, from.device())
}

/// From ids to the elements of a tensor that they lead to, all but `dim` being the id's own place.
struct Walk<'a> {
    sizes: &'a [usize],
    strides: Vec<usize>,
    dim: usize,
    id_sizes: &'a [usize],
    /// Ids in a row, and how far apart they lead where they are the same.
    columns: usize,
    step: usize,
}

impl<'a> Walk<'a> {
    /// # Errors
    /// Ids that do not fit.
    fn new(sizes: &'a [usize], dim: usize, id_sizes: &'a [usize], call: &str) -> Result<Self> {
        let fits = sizes.len() == id_sizes.len()
            && (0..sizes.len()).all(|i| i == dim || id_sizes[i] <= sizes[i]);
        if !fits {
            bail!("{call} along dim {dim}: ids {id_sizes:?} do not fit a tensor {sizes:?}");
        }
        let strides = dims::strides(sizes);
        let last = sizes.len().saturating_sub(1);
        let step = if last == dim { 0 } else { strides[last] };
        Ok(Self {
            sizes,
            strides,
            dim,
            id_sizes,
            columns: id_sizes.last().copied().unwrap_or(1).max(1),
            step,
        })
    }

    /// Where the first id of a row leads, if it is 0.
    fn first(&self, row: usize) -> usize {
        let (mut first, mut rest) = (0, row);
        for i in (0..self.sizes.len().saturating_sub(1)).rev() {
            if i != self.dim {
                first += rest % self.id_sizes[i] * self.strides[i];
            }
            rest /= self.id_sizes[i];
        }
        first
    }

    /// For each id, where among the elements it leads.
    ///
    /// # Errors
    /// Ids that are no integers, or out of range.
    fn places(&self, ids: &Value, call: &str) -> Result<Vec<i64>> {
        let mut flat = places(ids, self.dim, self.sizes, call)?;
        if self.sizes.is_empty() {
            return Ok(flat);
        }
        parallel::rows(&mut flat, self.columns, self.columns, |row, places| {
            let first = self.first(row);
            for (column, place) in places.iter_mut().enumerate() {
                *place =
                    *place * self.strides[self.dim] as i64 + (first + column * self.step) as i64;
            }
        });
        Ok(flat)
    }
}

/// The tensor with `fill` wherever `mask`, broadcast to its shape, is true.
///
/// # Errors
/// A mask that is no bool tensor or does not broadcast to the shape; a `fill` with dims.
pub fn masked_fill(value: &Value, mask: &Value, fill: Operand) -> Result<Value> {
    let Value::Bool(mask) = mask else {
        return Err(error!(
            "masked_fill needs a bool tensor for its mask, not {}",
            Kind::of(mask).name()
        )
        .help("compare first, as in x.masked_fill(x > 0.0, 1.0)"));
    };
    if !fill.dims().is_empty() {
        bail!("masked_fill fills with one number, not a tensor {:?}", fill.dims());
    }
    if dims::broadcast(value.dims(), mask.dims(), "masked_fill")? != value.dims() {
        bail!("masked_fill: a mask {:?} is larger than the tensor {:?}", mask.dims(), value.dims());
    }
    if let Operand::Number(number) = fill {
        number.check_holds(Kind::of(value))?;
    }
    let mask = crate::tensor::device::transfer(mask, value.device())?;
    choose(&mask, &fill.value(Kind::of(value), value.device())?, value)
}

/// `a` where `condition` is true, else `b`, all three broadcast.
///
/// # Errors
/// A condition that is no bool tensor, shapes that do not broadcast, two devices.
pub fn where_(condition: &Value, a: Operand, b: Operand) -> Result<Value> {
    let Value::Bool(mask) = condition else {
        return Err(error!("where needs a bool tensor first, not {}", Kind::of(condition).name())
            .help("compare first, as in where(x > 0.0, x, 0.0)"));
    };
    let kind = operand::promote(a, b);
    let device = condition.device();
    for side in [a, b] {
        if let Operand::Tensor(_) = side {
            operand::common_device(Operand::Tensor(condition), side, "where")?;
        }
    }
    choose(mask, &a.value(kind, device)?, &b.value(kind, device)?)
}

/// `a` where `mask` holds 1, else `b`: values of one kind, on one device.
pub(crate) fn choose(mask: &Tensor, a: &Value, b: &Value) -> Result<Value> {
    let both = dims::broadcast(a.dims(), b.dims(), "where")?;
    let shape = dims::broadcast(mask.dims(), &both, "where")?;
    if shape.contains(&0) {
        return empty(&shape, Kind::of(a), mask.device());
    }
    let mask = mask.broadcast_as(shape.as_slice())?;
    let pick = |a: &Tensor, b: &Tensor| {
        mask.where_cond(&a.broadcast_as(shape.as_slice())?, &b.broadcast_as(shape.as_slice())?)
    };
    Ok(match (a, b) {
        (Value::Complex(a), Value::Complex(b)) => {
            Value::Complex(Complex { re: pick(&a.re, &b.re)?, im: pick(&a.im, &b.im)? })
        }
        (Value::Bool(a), Value::Bool(b)) => Value::Bool(pick(a, b)?),
        (a, b) => Value::Real(pick(a.real("where")?, b.real("where")?)?),
    })
}

/// Where the elements other than 0 are: i64 of shape [count, rank].
pub fn nonzero(value: &Value) -> Result<Value> {
    let columns = nonzero_columns(value)?;
    let count = columns.first().map_or(0, Vec::len);
    let rows = (0..count).flat_map(|i| columns[..value.rank()].iter().map(move |column| column[i]));
    Ok(Value::Real(loops::place(rows.collect(), &[count, value.rank()], value.device())?))
}

/// The places of the elements other than 0, dim by dim, and after them their numbers in row-major
/// order.
pub(crate) fn nonzero_columns(value: &Value) -> Result<Vec<Vec<i64>>> {
    let mask = dtype::cast(value, Kind::Bool)?;
    let mask = loops::host::<u8>(mask.real("nonzero")?)?;
    let flat: Vec<i64> = (0i64..).zip(&mask).filter(|(_, b)| **b != 0).map(|(i, _)| i).collect();
    let strides = dims::strides(value.dims());
    let column = |(&stride, &size): (&usize, &usize)| {
        flat.iter().map(|i| i / stride as i64 % size as i64).collect()
    };
    let mut columns: Vec<Vec<i64>> = strides.iter().zip(value.dims()).map(column).collect();
    columns.push(flat);
    Ok(columns)
}
