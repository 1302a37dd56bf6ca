//! The mask that token ids carry: true at real tokens, false at padding. Ids without a mask are all
//! real.
//!
//! This is the only place where a tensor is derived from others, so that every operation must say
//! what becomes of their masks.

use rhai::Dynamic;

use super::Handle;
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::value::options::describe;
use crate::tensor::index::selection::Index;
use crate::tensor::index::subscript;
use crate::tensor::{Kind, Operand, Value, creation, dtype, operand};
use crate::{Error, Result, bail, error};

/// What an operation does with the mask of token ids. Only integer tensors are token ids; a result
/// of floats or bools carries no mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masks {
    /// The elements are selected, moved, repeated or joined, but not changed: the same operation
    /// applies to the mask.
    Follow,
    /// The elements are changed in place: the mask stays. If both operands carry a mask, the masks
    /// must be equal.
    Stay,
    /// The result is not token ids (a sum, a count, indexes): it carries no mask.
    End,
    /// The result could be taken for token ids, but no mask can be derived for it: an error if
    /// there is padding.
    Refuse,
}

impl Masks {
    /// The handle of `value`, the result of an operation on `input`; `alike` applies the operation
    /// to the mask.
    pub fn of(
        self,
        value: Value,
        input: &Handle,
        alike: impl Fn(&Value) -> Result<Value>,
    ) -> Result<Handle> {
        let result = Handle::derived(value, &[input])?;
        let Some(mask) = input.mask().filter(|_| result.may_be_ids()) else { return Ok(result) };
        match self {
            Masks::Follow => result.carrying(alike(&mask.value())?, &[&mask]),
            Masks::Stay => result.carrying(mask.value().clone(), &[&mask]),
            Masks::End => Ok(result),
            Masks::Refuse => refuse(&mask).map(|()| result),
        }
    }

    /// As [`of`](Self::of), for an operation on two operands, each a tensor or a number. If one
    /// carries a mask it stays; if both do, the masks follow or must be equal.
    pub fn of_two(
        self,
        value: Value,
        sides: [Option<&Handle>; 2],
        alike: impl Fn(Operand, Operand) -> Result<Value>,
    ) -> Result<Handle> {
        let inputs: Vec<&Handle> = sides.into_iter().flatten().collect();
        let result = Handle::derived(value, &inputs)?;
        let masked = inputs.iter().any(|input| input.mask().is_some());
        if !masked || self == Masks::End || !result.may_be_ids() {
            return Ok(result);
        }
        let masks = sides.map(|side| side.and_then(Handle::mask));
        if self == Masks::Refuse {
            return masks.iter().flatten().try_for_each(refuse).map(|()| result);
        }
        if let (Masks::Follow, [Some(a), Some(b)]) = (self, &masks) {
            let mask = alike(Operand::Tensor(&a.value()), Operand::Tensor(&b.value()))?;
            return result.carrying(mask, &[a, b]);
        }
        let agreed = agreed(sides, result.value().dims())?;
        match agreed {
            Some(mask) => result.carrying(mask, &masks.iter().flatten().collect::<Vec<_>>()),
            None => Ok(result),
        }
    }

    /// As [`of`](Self::of), for an operation on any number of tensors whose result can't carry a
    /// mask.
    pub fn of_all(self, value: Value, inputs: &[&Handle]) -> Result<Handle> {
        let result = Handle::derived(value, inputs)?;
        if self != Masks::End && result.may_be_ids() {
            inputs.iter().filter_map(|input| input.mask()).try_for_each(|mask| refuse(&mask))?;
        }
        Ok(result)
    }
}

/// The handle of `value`, which `join` made of several tensors. If any carries a mask, those
/// without one count as all real.
pub fn joined(
    value: Value,
    inputs: &[Handle],
    join: impl Fn(&[Value]) -> Result<Value>,
) -> Result<Handle> {
    let result = Handle::derived(value, &inputs.iter().collect::<Vec<_>>())?;
    if !result.may_be_ids() || inputs.iter().all(|input| input.mask().is_none()) {
        return Ok(result);
    }
    let masks = inputs.iter().map(Handle::mask_or_real).collect::<Result<Vec<_>>>()?;
    let values: Vec<Value> = masks.iter().map(|mask| mask.value().clone()).collect();
    result.carrying(join(&values)?, &masks.iter().collect::<Vec<_>>())
}

/// The handles of `values`, the pieces into which `cut` divided one tensor.
pub fn pieces(
    values: Vec<Value>,
    whole: &Handle,
    cut: impl Fn(&Value) -> Result<Vec<Value>>,
) -> Result<Vec<Handle>> {
    let pieces: Vec<Handle> =
        values.into_iter().map(|value| Handle::derived(value, &[whole])).collect::<Result<_>>()?;
    let Some(mask) = whole.mask() else { return Ok(pieces) };
    let masks = cut(&mask.value())?;
    pieces.into_iter().zip(masks).map(|(piece, part)| piece.carrying(part, &[&mask])).collect()
}

/// The handle of `value`, which `put` made by writing `source` into `input`. The source's mask is
/// written with it.
pub fn put(
    value: Value,
    input: &Handle,
    source: Option<&Handle>,
    put: impl Fn(&Value, Operand) -> Result<Value>,
) -> Result<Handle> {
    let Some(theirs) = source.and_then(Handle::mask) else {
        return Masks::Stay.of(value, input, |mask| Ok(mask.clone()));
    };
    let result = Handle::derived(value, &[input])?;
    if !result.may_be_ids() {
        return Ok(result);
    }
    let own = input.mask_or_real()?;
    let mask = put(&own.value(), Operand::Tensor(&theirs.value()))?;
    result.carrying(mask, &[&own, &theirs])
}

/// Values looked up in an integer table by token ids take the mask of the ids.
pub fn looked_up(found: Handle, ids: &Handle) -> Result<Handle> {
    match ids.mask() {
        Some(mask)
            if found.mask().is_none()
                && found.may_be_ids()
                && found.value().dims() == ids.value().dims() =>
        {
            found.carrying(mask.value().clone(), &[&mask])
        }
        _ => Ok(found),
    }
}

/// Updates the mask of `to` after `to[indexes] = source`; `theirs` is the source's mask.
pub fn assigned(to: &Handle, indexes: &[Index], theirs: Option<Handle>) -> Result<()> {
    let Some(theirs) = theirs.filter(|_| to.may_be_ids()) else { return Ok(()) };
    let own = to.mask_or_real()?;
    let theirs = theirs.value().clone();
    if subscript::holds(&own.value(), indexes, &theirs)? {
        return Ok(());
    }
    own.assign(indexes, Operand::Tensor(&theirs))?;
    to.set_mask(own);
    Ok(())
}

/// The mask, broadcast to the shape `dims`, of an elementwise operation on two operands. A scalar
/// tensor counts as a number.
///
/// # Errors
/// Both carry a mask, and the masks differ.
pub fn agreed(sides: [Option<&Handle>; 2], dims: &[usize]) -> Result<Option<Value>> {
    let has_dims = sides.iter().flatten().any(|side| side.value().rank() > 0);
    let mut masks = Vec::new();
    for side in sides.into_iter().flatten().filter(|side| !has_dims || side.value().rank() > 0) {
        if let Some(mask) = side.mask() {
            masks.push(mask.value().map(|t| t.broadcast_as(dims))?);
        }
    }
    if let [a, b] = masks.as_slice()
        && creation::to_numbers(a)? != creation::to_numbers(b)?
    {
        return Err(error!(
            "both sides are token ids, and their masks differ: what is real in the one is padding in the other"
        )
        .help("take the mask off one of them, as in tensor(ids.to_array())"));
    }
    Ok(masks.into_iter().next())
}

fn refuse(mask: &Handle) -> Result<()> {
    if all_real(&mask.value())? {
        return Ok(());
    }
    Err(error!("these are token ids with padding, and their mask can't follow them through this").help(
        "ids[ids.mask] picks the real ones; tensor(ids.to_array()) makes plain integers of all, without the mask",
    ))
}

/// Whether a mask is true everywhere.
pub fn all_real(mask: &Value) -> Result<bool> {
    Ok(creation::to_numbers(mask)?.into_iter().all(|real| real.to_f64() != 0.0))
}

impl Handle {
    /// The mask of token ids; `None` if all are real.
    pub fn mask(&self) -> Option<Handle> {
        self.0.borrow().mask.clone()
    }

    /// The same tensor, carrying a mask of the same shape.
    pub fn with_mask(self, mask: Handle) -> Self {
        self.0.borrow_mut().mask = Some(mask);
        self
    }

    /// The same token ids, with a mask that is true everywhere.
    ///
    /// # Errors
    /// Out of memory for the mask.
    pub fn all_real(self) -> Result<Self> {
        let mask = self.mask_or_real()?;
        Ok(self.with_mask(mask))
    }

    /// Replaces the mask.
    fn set_mask(&self, mask: Handle) {
        let mut slot = self.0.borrow_mut();
        if !slot.mask.as_ref().is_some_and(|known| known.same(&mask)) {
            slot.mask = Some(mask);
            slot.version += 1;
        }
    }

    /// Sets the mask of token ids after a write; `mask` is the mask of what was written.
    ///
    /// # Errors
    /// The mask can't be moved to the ids' device.
    pub fn mark(&self, mask: Value) -> Result<()> {
        if self.may_be_ids() && self.mask().is_none() {
            let mask = operand::transfer(&mask, self.value().device())?.deep_copy()?;
            self.set_mask(Handle::fresh(mask));
        }
        Ok(())
    }

    /// The mask, or one that is true everywhere.
    fn mask_or_real(&self) -> Result<Handle> {
        match self.mask() {
            Some(mask) => Ok(mask),
            None => {
                let value = self.value();
                Ok(Handle::fresh(creation::ones(value.dims(), Kind::Bool, value.device())?))
            }
        }
    }

    fn carrying(self, mask: Value, inputs: &[&Handle]) -> Result<Handle> {
        let mask = operand::transfer(&mask, self.value().device())?;
        Ok(self.with_mask(Handle::derived(mask, inputs)?))
    }

    fn may_be_ids(&self) -> bool {
        matches!(Kind::of(&self.0.borrow().value), Kind::U8 | Kind::U32 | Kind::I64)
    }
}

/// Reads `ids.mask`.
fn get(ids: &Handle) -> Result<Handle> {
    if !ids.may_be_ids() {
        return Err(Error::new("this tensor carries no mask")
            .help("token ids do, such as encode makes of texts"));
    }
    ids.mask_or_real()
}

/// Handles `ids.mask = mask`, and the assignment that Rhai makes after `ids.mask[[0, 1]] = false`
/// or `ids.mask.sum()`.
fn set(ids: &Handle, mask: &Dynamic) -> Result<()> {
    let Some(mask) = mask.read_lock::<Handle>() else {
        return Err(error!(
            "a mask is a tensor of bools in the shape of the ids, not {}",
            describe(mask)
        )
        .help("tensor(ids.to_array()) makes plain integers of token ids, without the mask"));
    };
    if ids.mask().is_some_and(|known| known.same(&mask)) {
        return Ok(());
    }
    let (value, given) = (ids.value(), mask.value());
    if !ids.may_be_ids() {
        bail!(
            "only token ids carry a mask, and a tensor {:?} of {} is none",
            value.dims(),
            value.dtype_name()
        );
    }
    if given.dims() != value.dims() {
        bail!(
            "the mask is {:?}, and the token ids are {:?}: they must be alike",
            given.dims(),
            value.dims()
        );
    }
    let bits = dtype::cast(&given, Kind::Bool)?;
    if creation::to_numbers(&bits)?
        .iter()
        .zip(creation::to_numbers(&given)?)
        .any(|(bit, given)| bit.to_f64() != given.to_f64())
    {
        return Err(error!(
            "a mask is true or 1 at real tokens, false or 0 at padding, and this one holds other numbers"
        )
        .help("compare first, as in ids.mask = ids != pad"));
    }
    // The assignment may follow a mere read; ids without a mask are all real already.
    if ids.mask().is_none() && all_real(&bits)? {
        return Ok(());
    }
    let bits = operand::transfer(&bits, value.device())?.deep_copy()?;
    drop((value, given));
    ids.set_mask(Handle::fresh(bits));
    Ok(())
}

/// Registers the mask that token ids carry.
pub fn install(registry: &mut Registry) {
    registry
        .declare(".mask", Purity::Pure, OnGpu::NATIVE, Gradient::Outside)
        .row(
            "of token ids: true at real tokens, throughout where nothing is padding; it \
            goes wherever rows and positions go",
            "let ids = tensor([[5, 6, 7], [8, 9, 0]]); ids.mask = ids != 0; ids[[.., \
            1..]].flip(0).mask",
            "tensor [2, 2] bool cpu: [[true, false], [true, true]]",
        )
        .row_titled(
            "`.mask = x`",
            "sets it, also part by part; `tensor(ids.to_array())` are the ids without",
            "let ids = tensor([[5, 6, 0]]); ids.mask[[0, 2]] = false; (ids + 1).mask",
            "tensor [1, 3] bool cpu: [[true, true, false]]",
        )
        .get(|ids: &mut Handle| -> ScriptResult<Handle> { Ok(get(ids)?) })
        .set(|ids: &mut Handle, mask: Dynamic| -> ScriptResult<()> { Ok(set(ids, &mask)?) });
}
