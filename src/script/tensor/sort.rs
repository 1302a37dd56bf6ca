//! `sort` and `order` of arrays: both give the elements in order, and `sort` also reorders the
//! array. Rhai's own functions are replaced because they drop what a comparer throws, and panic if
//! it contradicts itself or if a float is NaN.

use std::cmp::Ordering;

use rhai::{Array, Dynamic, FnPtr, NativeCallContext};

use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::value::options::describe;
use crate::{Result, bail, error};

/// The places of the elements in order, by a stable merge sort.
fn order(
    array: &Array,
    mut compare: impl FnMut(&Dynamic, &Dynamic) -> ScriptResult<Ordering>,
) -> ScriptResult<Vec<usize>> {
    let mut places: Vec<usize> = (0..array.len()).collect();
    let mut merged = Vec::with_capacity(places.len());
    let mut width = 1;
    while width < places.len() {
        for run in places.chunks(2 * width) {
            let (mut left, mut right) = run.split_at(width.min(run.len()));
            while let ([a, left_rest @ ..], [b, right_rest @ ..]) = (left, right) {
                if compare(&array[*a], &array[*b])?.is_gt() {
                    merged.push(*b);
                    right = right_rest;
                } else {
                    merged.push(*a);
                    left = left_rest;
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        std::mem::swap(&mut places, &mut merged);
        merged.clear();
        width *= 2;
    }
    Ok(places)
}

/// Calls a script's comparer, which returns an integer below, at or above 0, or whether the first
/// argument comes first.
fn by(
    call: &NativeCallContext,
    comparer: &FnPtr,
    a: &Dynamic,
    b: &Dynamic,
) -> ScriptResult<Ordering> {
    let said = comparer.call_raw(call, None, [a.clone(), b.clone()])?;
    match (said.as_int(), said.as_bool()) {
        (Ok(int), _) => Ok(int.cmp(&0)),
        (_, Ok(true)) => Ok(Ordering::Less),
        (_, Ok(false)) => Ok(Ordering::Greater),
        _ => {
            Err(error!("the comparer must return an integer or a bool, not {}", describe(&said))
                .into())
        }
    }
}

/// The natural order of numbers (NaN last), strings, characters or bools.
fn plain(a: &Dynamic, b: &Dynamic) -> Result<Ordering> {
    if a.type_id() != b.type_id() {
        bail!("elements of different types can't be sorted: {} and {}", describe(a), describe(b));
    }
    if let (Ok(a), Ok(b)) = (a.as_int(), b.as_int()) {
        return Ok(a.cmp(&b));
    }
    if let (Ok(a), Ok(b)) = (a.as_float(), b.as_float()) {
        // Not total_cmp: 0.0 and -0.0 are equal, and every NaN is.
        return Ok(a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())));
    }
    if let (Ok(a), Ok(b)) = (a.as_immutable_string_ref(), b.as_immutable_string_ref()) {
        return Ok((*a).cmp(&*b));
    }
    if let (Ok(a), Ok(b)) = (a.as_char(), b.as_char()) {
        return Ok(a.cmp(&b));
    }
    if let (Ok(a), Ok(b)) = (a.as_bool(), b.as_bool()) {
        return Ok(a.cmp(&b));
    }
    if a.is_unit() {
        return Ok(Ordering::Equal);
    }
    Err(error!("{} can't be sorted without a comparer", describe(a))
        .help("as in array.sort(|a, b| a.x < b.x)"))
}

fn ordered(
    array: &Array,
    compare: impl FnMut(&Dynamic, &Dynamic) -> ScriptResult<Ordering>,
) -> ScriptResult<Array> {
    Ok(order(array, compare)?.into_iter().map(|place| array[place].clone()).collect())
}

/// Registers the functions that sort arrays.
pub fn install(registry: &mut Registry) {
    registry
        .declare(
            "sort(array, comparer)",
            Purity::ChangesReceiver,
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row_for(
            "of an array",
            "puts it in order, and gives it",
            "let a = [3, 1, 2]; let b = a.sort(); [a, b]",
            "[[1, 2, 3], [1, 2, 3]]",
        )
        .function(sort)
        .function(sort_by);
    registry
        .declare(
            "sort_by(array, comparer)",
            Purity::ChangesReceiver,
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "sorts the array by a comparer |a, b| below, at or above 0, and gives it",
            "[1, 3, 2].sort_by(|a, b| b - a)",
            "[3, 2, 1]",
        )
        .function(sort_by);
    registry
        .declare(
            "sort_desc(array)",
            Purity::ChangesReceiver,
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "sorts the array from the largest down, and gives it",
            "[1, 3, 2].sort_desc()",
            "[3, 2, 1]",
        )
        .function(|array: &mut Array| -> ScriptResult<Array> {
            *array = ordered(array, descending)?;
            Ok(array.clone())
        });
    registry
        .declare("order(array, comparer)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "the elements in order, by a comparer |a, b| below, at or above 0 if one is \
            given; the array stays as it is",
            "let a = [3, 1, 2]; [a.order(), a]",
            "[[1, 2, 3], [3, 1, 2]]",
        )
        .function(|array: &mut Array| ordered(array, ascending))
        .function(order_by);
    registry
        .declare("order_by(array, comparer)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "the elements in order, by a comparer |a, b| below, at or above 0; the array \
            stays as it is",
            "[1, 3, 2].order_by(|a, b| b - a)",
            "[3, 2, 1]",
        )
        .function(order_by);
    registry
        .declare("order_desc(array)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "the elements from the largest down; the array stays as it is",
            "[1, 3, 2].order_desc()",
            "[3, 2, 1]",
        )
        .function(|array: &mut Array| ordered(array, descending));
}

fn ascending(a: &Dynamic, b: &Dynamic) -> ScriptResult<Ordering> {
    Ok(plain(a, b)?)
}

fn descending(a: &Dynamic, b: &Dynamic) -> ScriptResult<Ordering> {
    Ok(plain(a, b)?.reverse())
}

fn sort(array: &mut Array) -> ScriptResult<Array> {
    *array = ordered(array, ascending)?;
    Ok(array.clone())
}

fn sort_by(call: NativeCallContext, array: &mut Array, comparer: FnPtr) -> ScriptResult<Array> {
    *array = order_by(call, array, comparer)?;
    Ok(array.clone())
}

fn order_by(call: NativeCallContext, array: &mut Array, comparer: FnPtr) -> ScriptResult<Array> {
    ordered(array, |a, b| by(&call, &comparer, a, b))
}
