//! `sort` and `topk` along a dim.

use std::cmp::Ordering;

use candle_core::{Device, WithDType};

use crate::kernel::cpu::simd::vectorized;
use crate::tensor::elements::by_dtype;
use crate::tensor::index::gather;
use crate::tensor::reduce::along_dim::Lines;
use crate::tensor::reduce::dispatch::on_cpu;
use crate::tensor::reduce::{along_dim, by_candle};
use crate::tensor::{Kind, Value, elements, operand};
use crate::{Result, bail};

/// `torch.sort` with `stable=True`: the elements along `dim` in order, and their positions before
/// (i64). NaN counts as the largest element.
///
/// # Errors
/// The tensor is complex, or does not have the dim.
pub fn sort(value: &Value, dim: i64, descending: bool) -> Result<(Value, Value)> {
    value.real("sort")?;
    let dim = along_dim::dim(dim, value.dims())?;
    let size = Lines::along(value.dims(), dim).size;
    let found = ordered(&value.detach(), dim, size, descending)?;
    recorded(value, dim, found)
}

/// What was found in a value, of which a tracked one has the elements from where they were found.
fn recorded(value: &Value, dim: usize, found: (Value, Value)) -> Result<(Value, Value)> {
    let (values, places) = found;
    if !value.is_tracked() || values.numel() == 0 {
        return Ok((values, places));
    }
    let values = match value.rank() {
        0 => value.map(|t| t.reshape(values.dims()))?,
        _ => gather::gather(value, dim as i64, &places)?,
    };
    Ok((values, places))
}

/// `torch.topk`: the `k` largest elements along `dim` in descending order, or the `k` smallest in
/// ascending order, and their positions (i64). NaN counts as the largest element.
///
/// # Errors
/// `k` is not from 0 to the size of the dim; the tensor is complex or does not have the dim.
pub fn topk(value: &Value, k: i64, dim: i64, largest: bool) -> Result<(Value, Value)> {
    value.real("topk")?;
    let dim = along_dim::dim(dim, value.dims())?;
    let size = Lines::along(value.dims(), dim).size;
    match usize::try_from(k) {
        Ok(k) if (1..=size.min(MAX_SEARCHED_K)).contains(&k) && runs_on_device(value) => {
            let tensor = value.real("topk")?.contiguous()?;
            let (values, places) = by_candle::topk(&tensor.detach(), k, dim, largest)?;
            recorded(value, dim, (Value::Real(values), Value::Real(places)))
        }
        Ok(k) if k <= size => recorded(value, dim, ordered(&value.detach(), dim, k, largest)?),
        _ => bail!(
            "topk: k must be from 0 to {size}, the size of dim {dim} of a tensor {:?}, not {k}",
            value.dims()
        ),
    }
}

/// The largest `k` for which [`topk`] on a GPU, where candle has no sort for it, finds the extremes
/// one after the other; for a larger `k` the tensor is sorted on the CPU.
const MAX_SEARCHED_K: usize = 32;

/// Whether [`topk`] of the value runs on its device.
fn runs_on_device(value: &Value) -> bool {
    !value.device().is_cpu() && Kind::of(value).is_float() && value.rank() > 0 && value.numel() > 0
}

/// The first `k` elements along `dim` in order, and their positions.
fn ordered(value: &Value, dim: usize, k: usize, descending: bool) -> Result<(Value, Value)> {
    let (lines, shape) =
        (Lines::along(value.dims(), dim), along_dim::resized(value.dims(), dim, k));
    let mut places = None;
    let values = on_cpu(value, |value| {
        let tensor = value.real("sort")?;
        let (sorted, from) = by_dtype!(tensor, T => {
            let blank = (<T as WithDType>::from_f64(0.0), 0i64);
            let pairs = lines.map(tensor, k, blank, |line: &[T], out| first(line, out, descending))?;
            let sorted = elements::from_vec(lines.turned(&pairs, k, |(x, _)| x), &shape, &Device::Cpu)?;
            Ok((sorted, elements::from_vec(lines.turned(&pairs, k, |(_, from)| from), &shape, &Device::Cpu)?))
        })?;
        places = Some(Value::Real(from));
        value.map(|_| Ok(sorted.clone()))
    })?;
    let Some(places) = places else { bail!("sort found no places") };
    Ok((values, operand::transfer(&places, value.device())?))
}

/// Writes the first `out.len()` elements of `line` in order, with their positions, to `out`.
fn first<T: WithDType>(line: &[T], out: &mut [(T, i64)], descending: bool) {
    let compare = |a: &(T, i64), b: &(T, i64)| {
        let ascending = order(a.0, b.0);
        (if descending { ascending.reverse() } else { ascending }).then(a.1.cmp(&b.1))
    };
    if out.len() <= MAX_LISTED_K && 8 * out.len() <= line.len() {
        return first_few(line, out, descending, &compare);
    }
    let mut pairs: Vec<(T, i64)> = line.iter().copied().zip(0..).collect();
    if out.len() < pairs.len() {
        pairs.select_nth_unstable_by(out.len(), compare);
        pairs.truncate(out.len());
    }
    pairs.sort_unstable_by(compare);
    out.copy_from_slice(&pairs);
}

/// The largest `k` for which a sorted list of the first `k` elements is kept while the line is
/// read. For a larger `k` selection and sort are faster.
const MAX_LISTED_K: usize = 64;

/// Whether any of the elements may come before `least` in the order. NaN may.
#[allow(clippy::neg_cmp_op_on_partial_ord)]
#[inline(always)]
fn any_before<T: WithDType>(elements: &[T], least: T, descending: bool) -> bool {
    let mut any = false;
    if descending {
        for &x in elements {
            any |= !(x <= least);
        }
    } else {
        for &x in elements {
            any |= !(x >= least);
        }
    }
    any
}

/// Elements that are compared, and skipped, together.
const CHUNK: usize = 16;

vectorized! {
    /// An element that none of the first `count` elements of the line comes after: the line
    /// consists of parts of [`CHUNK`] elements, and the first elements of `count` parts do not come
    /// after the result. `None` if the line has a NaN, or fewer than `count` parts.
    fn bound[T: WithDType](line: &[T], count: usize, descending: bool) -> Option<T> {
        let (parts, _) = line.as_chunks::<CHUNK>();
        #[allow(clippy::eq_op)]
        let nan = line.iter().fold(false, |nan, x| nan | (x != x));
        if nan || parts.len() < count {
            return None;
        }
        let most = |part: &[T; CHUNK]| part.iter().fold(part[0], |most, &x| if x > most { x } else { most });
        let least = |part: &[T; CHUNK]| part.iter().fold(part[0], |least, &x| if x < least { x } else { least });
        let mut ends: Vec<T> = match descending {
            true => parts.iter().map(most).collect(),
            false => parts.iter().map(least).collect(),
        };
        let at = if descending { ends.len() - count } else { count - 1 };
        Some(*ends.select_nth_unstable_by(at, |a, b| order(*a, *b)).1)
    }
}

vectorized! {
    /// [`first`] for a few elements of a long line. Most elements of the line come after the last
    /// one found so far, and are skipped [`CHUNK`] at a time.
    fn first_few[T: WithDType, C: Fn(&(T, i64), &(T, i64)) -> Ordering](
        line: &[T],
        out: &mut [(T, i64)],
        descending: bool,
        compare: &C,
    ) {
        let Some(last) = out.len().checked_sub(1) else { return };
        let bound = bound(line, out.len(), descending);
        let beyond = |x: T| bound.is_some_and(|bound| if descending { x < bound } else { x > bound });
        let mut found = 0;
        for (many, first) in line.chunks(CHUNK).zip((0i64..).step_by(CHUNK)) {
            if many.iter().fold(true, |all, &x| all & beyond(x))
                || found > last && !any_before(many, out[last].0, descending)
            {
                continue;
            }
            for (&x, place) in many.iter().zip(first..) {
                let pair = (x, place);
                if beyond(x) || found > last && compare(&pair, &out[last]).is_gt() {
                    continue;
                }
                let at = out[..found].partition_point(|other| compare(other, &pair).is_lt());
                found = (found + 1).min(last + 1);
                out[at..found].rotate_right(1);
                out[at] = pair;
            }
        }
    }
}

/// The order of elements in which NaN is greater than all others and equal to itself.
#[allow(clippy::eq_op)]
pub(crate) fn order<T: PartialOrd + Copy>(a: T, b: T) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| (a != a).cmp(&(b != b)))
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::*;

    fn lists((values, places): (Value, Value)) -> (Vec<f32>, Vec<i64>) {
        (
            elements::to_vec(values.real("test").unwrap()).unwrap(),
            elements::to_vec(places.real("test").unwrap()).unwrap(),
        )
    }

    #[test]
    fn equal_elements_keep_their_order_and_nan_is_the_largest() {
        let x = Value::Real(Tensor::new(&[2f32, 1., 2., 3., 1.], &Device::Cpu).unwrap());
        assert_eq!(
            lists(sort(&x, 0, false).unwrap()),
            (vec![1., 1., 2., 2., 3.], vec![1, 4, 0, 2, 3])
        );
        assert_eq!(
            lists(sort(&x, 0, true).unwrap()),
            (vec![3., 2., 2., 1., 1.], vec![3, 0, 2, 1, 4])
        );
        assert_eq!(lists(topk(&x, 2, 0, false).unwrap()), (vec![1., 1.], vec![1, 4]));
        let x = Value::Real(Tensor::new(&[1f32, f32::NAN, f32::INFINITY], &Device::Cpu).unwrap());
        assert_eq!(lists(sort(&x, 0, false).unwrap()).1, [0, 2, 1]);
        assert_eq!(lists(topk(&x, 1, 0, true).unwrap()).1, [1]);
    }

    #[test]
    fn along_any_dim_of_any_shape() {
        let xs: Vec<f32> = (0..4 * 50 * 3).map(|i| ((i * 7919) % 601) as f32).collect();
        let x = Value::Real(elements::from_vec(xs.clone(), &[4, 50, 3], &Device::Cpu).unwrap());
        for (dim, size, stride) in [(0, 4, 150), (1, 50, 3), (2, 3, 1)] {
            for k in [1, size - 1, size] {
                let (values, places) = topk(&x, k as i64, dim as i64 - 3, true).unwrap();
                let mut shape = vec![4, 50, 3];
                shape[dim] = k;
                assert_eq!((values.dims(), places.dims()), (shape.as_slice(), shape.as_slice()));
                let (values, places) = lists((values, places));
                for (i, (value, place)) in values.into_iter().zip(places).enumerate() {
                    let (outer, rank, inner) = (i / (k * stride), i / stride % k, i % stride);
                    let at = |place: usize| xs[(outer * size + place) * stride + inner];
                    let mut row: Vec<f32> = (0..size).map(at).collect();
                    row.sort_by(|a, b| b.total_cmp(a));
                    assert_eq!((value, at(place as usize)), (row[rank], row[rank]));
                }
            }
        }
        assert_eq!(topk(&x, 0, 1, true).unwrap().0.dims(), [4, 0, 3]);
    }

    #[test]
    fn what_is_searched_for_is_what_is_sorted() {
        let infinity = f32::INFINITY;
        let rows = [
            [2f32, 1., 2., 3., 1., -0.5],
            [f32::NAN, 1., infinity, f32::NAN, -infinity, 0.],
            [-infinity, -infinity, infinity, -infinity, infinity, infinity],
        ];
        let x = Tensor::new(&rows, &Device::Cpu).unwrap();
        for (x, dim) in [(x.clone(), 1), (x.t().unwrap().contiguous().unwrap(), 0)] {
            for (k, largest) in (1..=6).flat_map(|k| [(k, true), (k, false)]) {
                let (values, places) = by_candle::topk(&x, k, dim, largest).unwrap();
                let there = lists((Value::Real(values), Value::Real(places)));
                let here = lists(topk(&x.clone().into(), k as i64, dim as i64, largest).unwrap());
                assert_eq!(format!("{there:?}"), format!("{here:?}"), "{k} {largest}");
            }
        }
    }

    #[test]
    fn a_single_number_is_a_line_of_one() {
        let three = Value::Real(Tensor::new(3f32, &Device::Cpu).unwrap());
        for pair in [sort(&three, -1, true), topk(&three, 1, 0, true)] {
            let (values, places) = pair.unwrap();
            assert_eq!((values.rank(), places.rank()), (0, 0));
            assert_eq!(lists((values, places)), (vec![3.0], vec![0]));
        }
        assert_eq!(topk(&three, 0, 0, true).unwrap().0.dims(), [0]);
        assert!(topk(&three, 2, 0, true).is_err());
    }

    #[test]
    fn the_dtype_stays_and_k_must_fit() {
        let x = Value::Bool(Tensor::new(&[1u8, 0, 1], &Device::Cpu).unwrap());
        let (values, places) = sort(&x, 0, false).unwrap();
        assert_eq!((Kind::of(&values), Kind::of(&places)), (Kind::Bool, Kind::I64));
        for k in [4, -1] {
            assert_eq!(
                topk(&x, k, 0, true).unwrap_err().message(),
                format!("topk: k must be from 0 to 3, the size of dim 0 of a tensor [3], not {k}")
            );
        }
    }
}
