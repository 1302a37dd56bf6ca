//! Indexing: `t[…]` and `t[…] = x`.

use std::ops::{Range, RangeInclusive};

use rhai::{Array, Dynamic, INT, Variant};

use super::arguments::{Side, derive};
use super::handle::mask;
use super::{Handle, Masks, creation};
use crate::script::declare::{Gradient, OnGpu, Page, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::value::options::describe;
use crate::tensor::index::selection::Index;
use crate::tensor::index::subscript;
use crate::tensor::{Operand, Value, creation as new};
use crate::{Result, error};

/// Registers an indexer for each type of index. A single one for `Dynamic` would also be called for
/// misspelt properties and for Rhai's write-backs of read-only properties, and hide both errors.
pub fn install(registry: &mut Registry) {
    registry.section(Page::Tensors, "Indexing");
    let read = registry
        .declare("t[…]", Purity::Pure, OnGpu::BY_IDS, Gradient::Yes)
        .row_titled(
            "`t[i]`",
            "a slice of the first dim; from the end where negative",
            "tensor([[1, 2], [3, 4]])[-1]",
            "tensor [2] i64 cpu: [3, 4]",
        )
        .row_titled(
            "`t[a..b]`",
            "several slices; `t[2..]` to the end, `t[a..=b]` the last included",
            "arange(6)[1..3]",
            "tensor [2] i64 cpu: [1, 2]",
        )
        .row_titled(
            "`t[a..]`",
            "negative places count from the end",
            "arange(6)[-2..]",
            "tensor [2] i64 cpu: [4, 5]",
        )
        .row_titled(
            "`t[a..=b]`",
            "the last included",
            "arange(6)[1..=3]",
            "tensor [3] i64 cpu: [1, 2, 3]",
        )
        .row_titled(
            "`t[[…]]`",
            "one index a dim; `..` is the whole dim",
            "arange(24).reshape(2, 3, 4)[[1, 0..2, -1]]",
            "tensor [2] i64 cpu: [15, 19]",
        )
        .row_titled(
            "`t[[.., i]]`",
            "a column",
            "tensor([[1, 2], [3, 4]])[[.., 1]]",
            "tensor [2] i64 cpu: [2, 4]",
        )
        .row_titled(
            "`t[[.., [i, j]]]`",
            "an array or integer tensor within picks several; two of them pick in pairs",
            "tensor([[1, 2, 3], [4, 5, 6]])[[.., [2, 0]]]",
            "tensor [2, 2] i64 cpu: [[3, 1], [6, 4]]",
        )
        .row_titled(
            "`t[mask]`",
            "the elements, or slices, where a bool tensor is true",
            "let t = tensor([1.0, -2.0, 3.0]); t[t > 0.0]",
            "tensor [2] f32 cpu: [1.0, 3.0]",
        )
        .row_titled(
            "`t[ids]`",
            "the slices an integer tensor numbers, in its shape",
            "tensor([10, 20, 30])[tensor([[2, 0], [1, 1]])]",
            "tensor [2, 2] i64 cpu: [[30, 10], [20, 20]]",
        );
    let read = read.index_get(part::<INT>).index_get(part::<Range<INT>>);
    let read = read.index_get(part::<RangeInclusive<INT>>).index_get(part::<Array>);
    read.index_get(part::<Handle>);
    let write = registry
        .declare("t[…] = x", Purity::ChangesReceiver, OnGpu::BY_IDS, Gradient::Yes)
        .row_titled(
            "`t[i] = x`",
            "writes in place: a tensor, broadcast and cast, or a number",
            "let t = zeros(2, 3); t[1] = tensor([1, 2, 3]); t",
            "tensor [2, 3] f32 cpu: [[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]",
        )
        .row_titled(
            "`t[a..b] = x`",
            "several slices",
            "let t = zeros(4); t[1..3] = 5; t",
            "tensor [4] f32 cpu: [0.0, 5.0, 5.0, 0.0]",
        )
        .row_titled(
            "`t[[…]] = x`",
            "any part",
            "let t = zeros(2, 3); t[[.., 1]] = tensor([7.0, 8.0]); t",
            "tensor [2, 3] f32 cpu: [[0.0, 7.0, 0.0], [0.0, 8.0, 0.0]]",
        )
        .row_titled(
            "`t[mask] = x`",
            "the elements where a bool tensor is true",
            "let t = tensor([1.0, -2.0, 3.0]); t[t < 0.0] = 0.0; t",
            "tensor [3] f32 cpu: [1.0, 0.0, 3.0]",
        )
        .row_titled(
            "`t[ids] = x`",
            "the slices numbered",
            "let t = zeros(4); t[tensor([3, 0])] = tensor([1.0, 2.0]); t",
            "tensor [4] f32 cpu: [2.0, 0.0, 0.0, 1.0]",
        )
        .row_titled(
            "`t[i] += x`",
            "reads, adds and writes",
            "let t = ones(3); t[0] += 4.0; t",
            "tensor [3] f32 cpu: [5.0, 1.0, 1.0]",
        );
    let write = write.index_set(set::<INT>).index_set(set::<Range<INT>>);
    let write = write.index_set(set::<RangeInclusive<INT>>).index_set(set::<Array>);
    write.index_set(set::<Handle>);
}

fn part<At: Variant + Clone>(t: &mut Handle, at: At) -> ScriptResult<Handle> {
    let at = Dynamic::from(at);
    let indexes = read(&at)?;
    let part = derive(t, Masks::Follow, |value| subscript::get(value, &indexes))?;
    Ok(looked_up(part.as_part(t, &indexes), &at)?)
}

fn set<At: Variant + Clone>(t: &mut Handle, at: At, source: Dynamic) -> ScriptResult<()> {
    let indexes = read(&Dynamic::from(at))?;
    Ok(assign(t, &indexes, source)?)
}

/// Writes `source`, a tensor or a number, to the elements that `indexes` select.
pub(super) fn assign(t: &Handle, indexes: &[Index], source: Dynamic) -> Result<()> {
    let Some(side) = Side::read(&source) else {
        return Err(error!(
            "a part of a tensor can be set to a tensor or a number, not {}",
            describe(&source)
        ));
    };
    match side {
        Side::Number(number) => t.assign(indexes, Operand::Number(number)),
        Side::Tensor(handle) => {
            let apart = handle.is_apart_from(t);
            let mask = handle.mask();
            if handle.is_part(t, indexes) {
                return mask::assigned(t, indexes, mask);
            }
            if !apart && subscript::holds(&t.value(), indexes, &handle.value())? {
                return mask::assigned(t, indexes, mask);
            }
            let value = if apart { handle.value().clone() } else { unshared(&handle, t)? };
            if t.is_journalled() {
                handle.lend();
            }
            // In `t[0] = t[1]` the handle of the part shares the storage. If it lived on, the write
            // would have to copy all of t.
            drop((handle, source));
            t.assign(indexes, Operand::Tensor(&value))?;
            mask::assigned(t, indexes, mask)
        }
    }
}

/// The source's value, copied if it shares storage with the target.
fn unshared(source: &Handle, target: &Handle) -> Result<Value> {
    let value = source.value();
    let own = target.value().addresses();
    if value.addresses().iter().any(|address| own.contains(address)) {
        value.deep_copy()
    } else {
        Ok(value.clone())
    }
}

/// Gives a part that was looked up by token ids the mask of those ids.
fn looked_up(part: Handle, at: &Dynamic) -> Result<Handle> {
    if let Some(ids) = at.read_lock::<Handle>() {
        return mask::looked_up(part, &ids);
    }
    let Some(array) = at.read_lock::<Array>() else { return Ok(part) };
    array
        .iter()
        .filter_map(|at| at.read_lock::<Handle>())
        .try_fold(part, |part, ids| mask::looked_up(part, &ids))
}

/// Reads what is between the brackets: an index for the first dim, or an array with one per dim.
fn read(at: &Dynamic) -> Result<Vec<Index>> {
    match at.read_lock::<Array>() {
        Some(array) => array.iter().map(read_one).collect(),
        None => Ok(vec![read_one(at)?]),
    }
}

fn read_one(at: &Dynamic) -> Result<Index> {
    if let Ok(place) = at.as_int() {
        return Ok(Index::At(place));
    }
    if let Some(range) = at.read_lock::<Range<INT>>() {
        return Ok(Index::Range { start: range.start, end: range.end });
    }
    if let Some(range) = at.read_lock::<RangeInclusive<INT>>() {
        // -1 is the last place, and the end of a range that includes it is the end of the dim.
        let end = if *range.end() == -1 { i64::MAX } else { range.end().saturating_add(1) };
        return Ok(Index::Range { start: *range.start(), end });
    }
    if let Some(handle) = at.read_lock::<Handle>() {
        return Ok(Index::Pick(handle.value().clone()));
    }
    if at.is::<Array>() {
        let (mut numbers, mut sizes) = (Vec::new(), Vec::new());
        creation::read_nested(at, 0, &mut sizes, &mut numbers)?;
        let kind = numbers.is_empty().then_some(crate::tensor::Kind::I64);
        return Ok(Index::Pick(new::from_numbers(
            &numbers,
            &sizes,
            kind,
            &candle_core::Device::Cpu,
        )?));
    }
    Err(error!("a tensor cannot be indexed by {}", describe(at))
        .help("use integers, ranges, arrays of them, or tensors of integers or bools"))
}
