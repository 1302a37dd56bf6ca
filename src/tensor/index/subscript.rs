//! `x[..]` and `x[..] = y`: reading and writing the part of a tensor that subscripts select.

use std::sync::Arc;

use candle_core::Tensor;

use super::selection::{Index, Rows, Selection, Selector};
use super::{gather, masked, select};
use crate::tensor::operand::Operand;
use crate::tensor::transfer::copy::Overwrite;
use crate::tensor::{Kind, Value, creation, dims, dtype, elements, graph, operand};
use crate::{Result, bail};

/// The part of `value` that `indexes` select. It shares the storage unless an integer or bool
/// tensor is among the subscripts.
///
/// # Errors
/// As [`Selection::new`].
pub fn get(value: &Value, indexes: &[Index]) -> Result<Value> {
    let selection = Selection::new(indexes, value.dims())?;
    let count = selection.dims().iter().product::<usize>();
    // A view of most of a tensor goes back as a view does, without a copy.
    if !value.is_tracked() || (!selection.has_picks() && 2 * count > value.numel()) {
        return selected(value, &selection);
    }
    let selection = Arc::new(selection);
    let own = selection.clone();
    graph::operation(
        &[value],
        |inputs| selected(inputs[0], &selection),
        move |back| back.of_one(|| placed(&back.gradient, &own, back.inputs[0].dims())),
    )
}

/// A tensor of shape `dims` with the elements of `part` where they were selected, added up where
/// several come from one place; zeros elsewhere.
fn placed(part: &Value, selection: &Selection, dims: &[usize]) -> Result<Value> {
    if selection.has_picks() {
        let Rows { outer, inner } = selection.rows(dims);
        let rows = part.map(|t| t.reshape(((), inner)))?;
        let count = dims.iter().product::<usize>() / inner;
        return select::added(&rows, 0, &outer, &[count, inner])?.map(|t| t.reshape(dims));
    }
    let out = creation::zeros(dims, Kind::of(part), part.device())?;
    for (to, from) in out.parts().into_iter().zip(part.parts()) {
        write(to, selection, &from.contiguous()?)?;
    }
    Ok(out)
}

fn selected(value: &Value, selection: &Selection) -> Result<Value> {
    let shape = selection.dims();
    if !selection.has_picks() {
        return value.map(|t| {
            let mut t = t.clone();
            for (dim, selector) in selection.selectors.iter().enumerate() {
                t = match *selector {
                    Selector::At(i) => t.narrow(dim, i, 1)?,
                    Selector::Range { start, len } if len < t.dims()[dim] => {
                        t.narrow(dim, start, len)?
                    }
                    _ => t,
                };
            }
            // Drops the dims with one position, the last first so that the numbers of the others
            // stay valid.
            for (dim, selector) in selection.selectors.iter().enumerate().rev() {
                if let Selector::At(_) = selector {
                    t = t.squeeze(dim)?;
                }
            }
            Ok(t)
        });
    }
    if shape.contains(&0) {
        return creation::zeros(&shape, Kind::of(value), value.device());
    }
    let Rows { outer, inner } = selection.rows(value.dims());
    let flat = value.map(|t| t.reshape(((), inner)))?;
    select::slices(&flat, 0, outer)?.map(|t| t.reshape(shape.as_slice()))
}

/// Writes `source` into the part of `target` that `indexes` select, in place.
///
/// The tensors of `target` must be contiguous, and the caller must be the only user of their
/// storage. `source` is broadcast to the part, cast to the target's dtype and moved to its device.
/// The cost is proportional to the part, not to the target.
///
/// # Errors
/// As [`Selection::new`]; `source` does not broadcast to the part, or the target's dtype cannot
/// hold it.
pub fn set(target: &Value, indexes: &[Index], source: Operand) -> Result<()> {
    let selection = Selection::new(indexes, target.dims())?;
    let shape = selection.dims();
    let source = fitted(source, &shape, target)?;
    if shape.contains(&0) {
        return Ok(());
    }
    for (to, from) in target.parts().into_iter().zip(source.parts()) {
        write(to, &selection, from)?;
    }
    Ok(())
}

/// A copy of `target` with `source` in the part that `indexes` select, as [`set`] writes it, with the
/// derivatives of both.
///
/// # Errors
/// As [`set`].
pub fn put(target: &Value, indexes: &[Index], source: Operand) -> Result<Value> {
    let selection = Selection::new(indexes, target.dims())?;
    let shape = selection.dims();
    let source = fitted(source, &shape, target)?;
    if shape.contains(&0) {
        return target.deep_copy();
    }
    if indexes.is_empty() && source.is_tracked() {
        return if source.has_variable() { source.deep_copy() } else { Ok(source) };
    }
    let selection = Arc::new(selection);
    let own = selection.clone();
    let written = move |target: &Value, source: &Value| -> Result<Value> {
        let out = target.deep_copy()?;
        for (to, from) in out.parts().into_iter().zip(source.parts()) {
            write(to, &own, &from.contiguous()?)?;
        }
        Ok(out)
    };
    let replaced = written.clone();
    graph::operation(
        &[target, &source],
        |inputs| written(inputs[0], inputs[1]),
        move |back| {
            let gradient = &back.gradient;
            Ok(vec![
                back.of(0, || replaced(gradient, &back.inputs[1].map(Tensor::zeros_like)?))?,
                back.of(1, || {
                    let part = selected(gradient, &selection)?;
                    if !selection.has_picks() {
                        return Ok(part);
                    }
                    let Rows { outer, inner } = selection.rows(gradient.dims());
                    let rows = part.map(|t| t.reshape(((), inner)))?;
                    let places = elements::from_vec(outer, &[rows.dims()[0]], part.device())?;
                    let last = gather::last_written(&places, gradient.numel() / inner)?;
                    let last = last.map(|t| t.unsqueeze(1))?;
                    let found = masked::where_(&last, (&rows).into(), Operand::from(0.0))?;
                    found.map(|t| t.reshape(part.dims()))
                })?,
            ])
        },
    )
}

/// Whether the part of `target` that `indexes` select already is `source`: the same elements in
/// memory, or, if an integer or bool tensor among the subscripts makes the part a copy or `target`
/// is a variable, bitwise equal ones.
///
/// Rhai writes back what it read through a subscript: `t[0].exp()` ends with `t[0] = t[0]`. Such a
/// write must cost nothing.
///
/// # Errors
/// As [`Selection::new`].
pub fn holds(target: &Value, indexes: &[Index], source: &Value) -> Result<bool> {
    // What is read from a variable is a copy.
    let copied = target.has_variable();
    let (target, source) = (&target.detach(), &source.detach());
    if Kind::of(target) != Kind::of(source) || !target.device().same_device(source.device()) {
        return Ok(false);
    }
    let part = get(target, indexes)?;
    if part.dims() != source.dims() {
        return Ok(false);
    }
    if !copied && !indexes.iter().any(|index| matches!(index, Index::Pick(_))) {
        return Ok(same_elements(&part, source));
    }
    for (a, b) in part.parts().into_iter().zip(source.parts()) {
        let numbers = |t: &Tensor| creation::to_numbers(&t.clone().into());
        if !numbers(a)?.into_iter().zip(numbers(b)?).all(|(x, y)| x.is_same(y)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether both are views of the same elements of the same storage, in the same order.
pub(super) fn same_elements(a: &Value, b: &Value) -> bool {
    let view = |t: &Tensor| (t.layout().start_offset(), t.stride().to_vec());
    a.dims() == b.dims()
        && a.addresses() == b.addresses()
        && a.parts().iter().zip(b.parts()).all(|(a, b)| view(a) == view(b))
}

/// `source` broadcast to `shape`, in the dtype and on the device of `target`. It does not share the
/// storage of `target`, so that a tensor can be written into a part of itself.
fn fitted(source: Operand, shape: &[usize], target: &Value) -> Result<Value> {
    let kind = Kind::of(target);
    let value = match source {
        Operand::Number(number) => {
            number.check_holds(kind)?;
            number.value(kind, target.device())?
        }
        Operand::Tensor(value) => {
            let own = target.addresses();
            let value = if value.addresses().iter().any(|a| own.contains(a)) {
                value.deep_copy()?
            } else {
                value.clone()
            };
            operand::transfer(&dtype::cast(&value, kind)?, target.device())?
        }
    };
    fitted_to(value, source.dims(), shape)
}

/// The value broadcast to `shape` and made contiguous. Leading dims of size 1 that `shape` lacks
/// are dropped. `given` is the shape of the source for the error.
pub(super) fn fitted_to(mut value: Value, given: &[usize], shape: &[usize]) -> Result<Value> {
    while value.rank() > shape.len() && value.dims()[0] == 1 {
        value = value.map(|t| t.squeeze(0))?;
    }
    match dims::broadcast(value.dims(), shape, "assignment") {
        Ok(both) if both == shape => value.map(|t| t.broadcast_as(shape)?.contiguous()),
        _ => bail!("a tensor {given:?} cannot be written into a part of shape {shape:?}"),
    }
}

/// Writes `source`, which has as many elements as the selection, into the selected part of
/// `target`. Both are contiguous and on one device.
pub(super) fn write(target: &Tensor, selection: &Selection, source: &Tensor) -> Result<()> {
    // Leading dims with one position are narrowed first: the part of a contiguous tensor that
    // remains is contiguous.
    let mut part = target.clone();
    let mut rest = selection.selectors.as_slice();
    while let [Selector::At(i), others @ ..] = rest {
        part = part.narrow(0, *i, 1)?.squeeze(0)?;
        rest = others;
    }
    let restricted: Vec<usize> = (0..rest.len())
        .filter(|&dim| !matches!(rest[dim], Selector::Range { len, .. } if len == part.dims()[dim]))
        .collect();
    if part.rank() == 0 {
        return Ok(part.reshape(1)?.slice_set(&source.reshape(1)?, 0, 0)?);
    }
    let block = match restricted.as_slice() {
        [] => Some((0, 0, part.dims()[0])),
        [dim] => match rest[*dim] {
            Selector::At(i) => Some((*dim, i, 1)),
            Selector::Range { start, len } => Some((*dim, start, len)),
            Selector::Pick(_) => None,
        },
        _ => None,
    };
    if let Some((dim, start, len)) = block {
        let mut shape = part.dims().to_vec();
        shape[dim] = len;
        let source = source.reshape(shape)?;
        let block = part.narrow(dim, start, len)?;
        match block.device().is_cpu() && block.is_contiguous() && source.is_contiguous() {
            true => block.inplace_op2(&source, &Overwrite)?,
            false => part.slice_set(&source, dim, start)?,
        }
        return Ok(());
    }
    let Rows { outer, inner } = selection.rows(target.dims());
    let count = outer.len();
    let ids = elements::from_vec(outer, &[count, 1], target.device())?
        .broadcast_as((count, inner))?
        .contiguous()?;
    Ok(target.reshape(((), inner))?.scatter_set(&ids, &source.reshape((count, inner))?, 0)?)
}
