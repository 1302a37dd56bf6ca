//! Slices along one dim: `narrow`, `select`, `index_select`.

use std::mem::MaybeUninit;

use candle_core::{Tensor, WithDType};

use super::ids;
use crate::kernel::cpu::parallel;
use crate::tensor::elements::{by_dtype, with_slice};
use crate::tensor::{Complex, Kind, Value, creation, dims, elements, graph};
use crate::{Result, bail};

/// `torch.narrow`: the `len` slices along `dim` from `start` on, without a copy. A negative `start`
/// counts from the end.
///
/// # Errors
/// The slices reach beyond the dim, or the tensor does not have it.
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
    part(value, at, first as usize, len as usize)
}

/// The slices of a dim that the caller has checked. Those of a tracked tensor are copied if they are
/// few: a view goes back by filling up the whole tensor several times.
fn part(value: &Value, dim: usize, start: usize, len: usize) -> Result<Value> {
    let cut = |value: &Value| value.map(|t| t.narrow(dim, start, len));
    if !value.is_tracked() || 2 * len > value.dims()[dim] {
        return cut(value);
    }
    graph::operation(
        &[value],
        |inputs| cut(inputs[0]),
        move |back| {
            back.of_one(|| {
                let part = &back.gradient;
                let whole = creation::zeros(back.inputs[0].dims(), Kind::of(part), part.device())?;
                for (to, from) in whole.parts().into_iter().zip(part.parts()) {
                    to.slice_set(&from.contiguous()?, dim, start)?;
                }
                Ok(whole)
            })
        },
    )
}

/// `torch.select`: the slice at `index` along `dim`, without that dim and without a copy.
///
/// # Errors
/// The index is out of range, or the tensor does not have the dim.
pub fn select(value: &Value, dim: i64, index: i64) -> Result<Value> {
    let at = dims::dim(dim, value.dims())?;
    let index = dims::index(index, at, value.dims())?;
    part(value, at, index, 1)?.map(|t| t.squeeze(at))
}

/// `torch.index_select`: the slices along `dim` at the positions in the vector `ids`, copied.
///
/// # Errors
/// `ids` is not an integer tensor of at most one dim, or has an id out of range; the tensor does
/// not have the dim.
pub fn index_select(value: &Value, dim: i64, ids: &Value) -> Result<Value> {
    let at = dims::dim(dim, value.dims())?;
    if ids.rank() > 1 {
        bail!("index_select needs ids of one dim, not {:?}", ids.dims());
    }
    slices(value, at, ids::places(ids, at, value.dims(), "index_select")?)
}

/// [`index_select`] for positions `places` that the caller has checked to be in range.
///
/// # Errors
/// There is no memory for the result.
pub(crate) fn slices(value: &Value, dim: usize, places: Vec<i64>) -> Result<Value> {
    if !value.is_tracked() {
        return picked(value, dim, places);
    }
    let (own, dims) = (places.clone(), value.dims().to_vec());
    graph::operation(
        &[value],
        |inputs| picked(inputs[0], dim, places),
        move |back| back.of_one(|| added(&back.gradient, dim, &own, &dims)),
    )
}

/// A tensor of shape `dims` in which each slice of `value` along `dim` is added at its place; zeros
/// elsewhere. What [`slices`] goes back by.
///
/// # Errors
/// There is no memory for the result.
pub(crate) fn added(value: &Value, dim: usize, places: &[i64], dims: &[usize]) -> Result<Value> {
    let places = elements::from_vec(places.to_vec(), &[places.len()], value.device())?;
    let zeros = creation::zeros(dims, Kind::of(value), value.device())?;
    let add = |zeros: &Tensor, from: &Tensor| -> Result<Tensor> {
        Ok(zeros.index_add(&places, &from.contiguous()?, dim)?)
    };
    Ok(match (zeros, value) {
        (Value::Complex(zeros), Value::Complex(from)) => {
            Value::Complex(Complex { re: add(&zeros.re, &from.re)?, im: add(&zeros.im, &from.im)? })
        }
        (zeros, from) => Value::Real(add(zeros.real("this")?, from.real("this")?)?),
    })
}

fn picked(value: &Value, dim: usize, places: Vec<i64>) -> Result<Value> {
    let mut shape = value.dims().to_vec();
    shape[dim] = places.len();
    if shape.contains(&0) {
        return creation::zeros(&shape, Kind::of(value), value.device());
    }
    if value.device().is_cpu() {
        return value.map_parts(|t| by_dtype!(t, T => selected::<T>(t, dim, &places, &shape)));
    }
    let ids = elements::from_vec(places, &[shape[dim]], value.device())?;
    value.map(|t| t.contiguous()?.index_select(&ids, dim))
}

/// [`slices`] on the CPU; `shape` is that of the result.
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
        // SAFETY: the rows of `inner` elements together are the whole of `out`, and each is written
        // by `write_copy_of_slice`.
        unsafe { elements::filled_vec(shape.iter().product(), fill) }
    })?;
    elements::from_vec(out, shape, from.device())
}
