//! Elements in order along a dim: `sort`, `topk`.

use std::cmp::Ordering;

use candle_core::WithDType;

use super::kernel::by_dtype;
use super::reduce::on_cpu;
use super::rows::{map_rows, unrow, with_last};
use super::{Value, dims, operand};
use crate::{Result, bail};

/// The elements along `dim` in order, and which places (i64) they come from. A NaN counts as the largest; equal elements
/// keep their order.
///
/// # Errors
/// A complex tensor.
pub fn sort(value: &Value, dim: i64, descending: bool) -> Result<(Value, Value)> {
    value.real("sort")?;
    let dim = dims::dim(dim, value.dims())?;
    ordered(value, dim, value.dims()[dim], descending)
}

/// The `k` largest elements along `dim` from the largest down, or the smallest from the smallest up, and which places
/// (i64) they come from.
///
/// # Errors
/// More than the dim has, or a complex tensor.
pub fn topk(value: &Value, k: i64, dim: i64, largest: bool) -> Result<(Value, Value)> {
    value.real("topk")?;
    let dim = dims::dim(dim, value.dims())?;
    let size = value.dims()[dim];
    match usize::try_from(k) {
        Ok(k) if k <= size => ordered(value, dim, k, largest),
        _ => bail!("topk: k must be from 0 to {size}, the size of dim {dim} of a tensor {:?}, not {k}", value.dims()),
    }
}

/// The first `k` along `dim`.
fn ordered(value: &Value, dim: usize, k: usize, descending: bool) -> Result<(Value, Value)> {
    let mut places = None;
    let values = on_cpu(value, |value| {
        let tensor = value.real("sort")?;
        let (sorted, from) = by_dtype!(tensor, T => {
            let blank = (<T as WithDType>::from_f64(0.0), 0i64);
            let pairs = with_last(tensor, dim, |rows| {
                map_rows(rows, k, blank, |row: &[T], out| first(row, out, descending))
            })?;
            let (sorted, from): (Vec<T>, Vec<i64>) = pairs.into_iter().unzip();
            Ok((unrow(sorted, value.dims(), dim, k)?, unrow(from, value.dims(), dim, k)?))
        })?;
        places = Some(Value::Real(from));
        value.map(|_| Ok(sorted.clone()))
    })?;
    let Some(places) = places else { bail!("sort found no places") };
    Ok((values, operand::transfer(&places, value.device())?))
}

fn first<T: WithDType>(row: &[T], out: &mut [(T, i64)], descending: bool) {
    let compare = |a: &(T, i64), b: &(T, i64)| {
        let ascending = order(a.0, b.0);
        (if descending { ascending.reverse() } else { ascending }).then(a.1.cmp(&b.1))
    };
    let mut pairs: Vec<(T, i64)> = row.iter().copied().zip(0..).collect();
    if out.len() < pairs.len() {
        pairs.select_nth_unstable_by(out.len(), compare);
        pairs.truncate(out.len());
    }
    pairs.sort_unstable_by(compare);
    out.copy_from_slice(&pairs);
}

#[allow(clippy::eq_op)]
fn order<T: PartialOrd + Copy>(a: T, b: T) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| (a != a).cmp(&(b != b)))
}
