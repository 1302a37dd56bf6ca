//! `gather` and `scatter`: elements at positions along a dim that an integer tensor gives.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Tensor, WithDType};

use super::{ids, masked, select};
use crate::kernel::cpu::parallel;
use crate::tensor::elements::{by_dtype, with_slice};
use crate::tensor::operand::Operand;
use crate::tensor::{Kind, Value, creation, dims, dtype, elements, graph, operand};
use crate::{Result, bail};

/// `torch.gather`: for three dims and `dim` 1, `out[i][j][k] = value[i][ids[i][j][k]][k]`. The
/// result has the shape of `ids` and the dtype of `value`. Negative ids count from the end.
///
/// # Errors
/// `ids` has another rank than `value`, is larger along another dim than `dim`, is not an integer
/// tensor, or has an id out of range.
pub fn gather(value: &Value, dim: i64, ids: &Value) -> Result<Value> {
    let at = dims::dim(dim, value.dims())?;
    let offsets = IdOffsets::new(value.dims(), at, ids.dims(), "gather")?;
    if ids.numel() == 0 {
        offsets.all(ids, "gather")?;
        return creation::zeros(ids.dims(), Kind::of(value), value.device());
    }
    if value.is_tracked() {
        let flat = offsets.all(ids, "gather")?;
        let elements = value.map(Tensor::flatten_all)?;
        return select::slices(&elements, 0, flat)?.map(|t| t.reshape(ids.dims()));
    }
    if value.device().is_cpu() && ids.device().is_cpu() && Kind::of(ids) == Kind::I64 {
        let ids = ids.real("gather")?;
        return value.map_parts(|t| by_dtype!(t, T => gathered::<T>(t, ids, &offsets)));
    }
    let flat = offsets.all(ids, "gather")?;
    let flat = elements::from_vec(flat, &[ids.numel()], value.device())?;
    value.map(|t| t.flatten_all()?.index_select(&flat, 0)?.reshape(ids.dims()))
}

/// `torch.scatter`: a copy of `value` in which, for three dims and `dim` 1,
/// `out[i][ids[i][j][k]][k] = source[i][j][k]`. A source of one number is written to every
/// position. If ids repeat, which of their elements is written is unspecified.
///
/// # Errors
/// As [`gather`]; `source` is smaller than `ids`; the dtype of `value` cannot hold `source`.
pub fn scatter(value: &Value, dim: i64, ids: &Value, source: Operand) -> Result<Value> {
    let at = dims::dim(dim, value.dims())?;
    let flat = IdOffsets::new(value.dims(), at, ids.dims(), "scatter")?.all(ids, "scatter")?;
    if flat.is_empty() {
        return value.deep_copy();
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
    let places = elements::from_vec(flat, &[ids.numel()], value.device())?;
    let own = places.clone();
    graph::operation(
        &[value, &source],
        |inputs| put(inputs[0], &places, inputs[1]),
        move |back| {
            let gradient = &back.gradient;
            Ok(vec![
                back.of(0, || put(gradient, &own, &back.inputs[1].map(Tensor::zeros_like)?))?,
                back.of(1, || {
                    let found = gradient.map(|t| t.flatten_all()?.index_select(&own, 0))?;
                    let last = last_written(&own, gradient.numel())?;
                    let found = masked::where_(&last, (&found).into(), Operand::from(0.0))?;
                    found.map(|t| t.reshape(back.inputs[1].dims()))
                })?,
            ])
        },
    )
}

/// A copy of `value` with the elements of `source` at `places` in row-major order.
fn put(value: &Value, places: &Tensor, source: &Value) -> Result<Value> {
    let out = value.deep_copy()?;
    for (to, from) in out.parts().into_iter().zip(source.parts()) {
        to.flatten_all()?.scatter_set(places, &from.flatten_all()?, 0)?;
    }
    Ok(out)
}

/// Which of the elements that are written at `places`, of `count`, stay: of those at one place the
/// last.
pub(super) fn last_written(places: &Tensor, count: usize) -> Result<Value> {
    let written = elements::to_vec::<i64>(places)?;
    let mut last = vec![0; count];
    for (i, &place) in written.iter().enumerate() {
        last[place as usize] = i;
    }
    let stays = |(i, &place): (usize, &i64)| u8::from(last[place as usize] == i);
    let stays: Vec<u8> = written.iter().enumerate().map(stays).collect();
    Ok(Value::Bool(elements::from_vec(stays, &[written.len()], places.device())?))
}

/// [`gather`] on the CPU, of ids in i64.
fn gathered<T: WithDType>(from: &Tensor, ids: &Tensor, offsets: &IdOffsets) -> Result<Tensor> {
    let (size, stride) = (offsets.sizes[offsets.dim] as i64, offsets.strides[offsets.dim]);
    let out_of_range = AtomicBool::new(false);
    let out = with_slice(from, |elements: &[T]| {
        with_slice(ids, |ids: &[i64]| {
            let fill = |out: &mut [MaybeUninit<T>]| {
                parallel::rows(out, offsets.columns, offsets.columns, |row, out| {
                    let (first, ids) = (offsets.first(row), &ids[row * offsets.columns..]);
                    let out = elements::fill_with(out, T::zero());
                    for (column, (out, &id)) in out.iter_mut().zip(ids).enumerate() {
                        let place = if id < 0 { id + size } else { id };
                        if !(0..size).contains(&place) {
                            return out_of_range.store(true, Ordering::Relaxed);
                        }
                        *out = elements[first + column * offsets.step + place as usize * stride];
                    }
                });
            };
            // SAFETY: the rows of `offsets.columns` elements together are the whole of `out`, and
            // the closure initialises each row with `fill_with` before anything else.
            unsafe { elements::filled_vec(ids.len(), fill) }
        })
    })??;
    if out_of_range.into_inner() {
        offsets.all(&Value::Real(ids.clone()), "gather")?;
    }
    elements::from_vec(out, offsets.id_sizes, from.device())
}

/// Maps each id of an id tensor to an offset among the elements of a contiguous tensor: along `dim`
/// the position is the id, along the other dims it is that of the id itself.
struct IdOffsets<'a> {
    sizes: &'a [usize],
    strides: Vec<usize>,
    dim: usize,
    id_sizes: &'a [usize],
    /// The size of the last dim of the ids.
    columns: usize,
    /// The distance between the offsets of two equal ids that are neighbours in a row.
    step: usize,
}

impl<'a> IdOffsets<'a> {
    /// # Errors
    /// The ids have another rank, or are larger along a dim other than `dim`.
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

    /// The offset for the first id of row `row` if that id is 0.
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

    /// The offset for each id.
    ///
    /// # Errors
    /// `ids` is not an integer tensor, or has an id out of range.
    fn all(&self, ids: &Value, call: &str) -> Result<Vec<i64>> {
        let mut flat = ids::places(ids, self.dim, self.sizes, call)?;
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
