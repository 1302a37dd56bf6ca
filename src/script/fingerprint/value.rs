//! The digest of a script's value: of its data, and of which tensors and shared variables in it are
//! the same object.

use std::collections::HashMap;

use rhai::{Array, Dynamic, FnPtr};

use super::hasher::{Digest, Hasher};
use crate::Result;
use crate::script::reference::vocabulary::a;
use crate::script::value::Handle;
use crate::script::value::model::Model;
use crate::script::value::options::describe;
use crate::script::value::plain::plain;
use crate::script::value::record;
use crate::tensor::Value;
use crate::tensor::transfer::bytes::to_le_bytes;

/// How deep values may nest.
const MAX_DEPTH: usize = 200;

/// The digests of functions that values hold.
pub trait FunctionDigests {
    /// The digest of a function and of every function that it may call; the variables that it
    /// captured are not part of it.
    ///
    /// # Errors
    /// Why a call of the function can't be skipped, as a clause about it: `calls print`.
    fn digest(&self, function: &FnPtr) -> Result<Digest, String>;
}

/// The objects met so far in a sequence of values. One that is met again is represented by its
/// number, because a variable that a closure captured may hold that same closure.
#[derive(Default)]
pub struct Met {
    /// The tensors, in the order in which they were met.
    pub handles: Vec<Handle>,
    /// The numbers of the variables that closures share, by the addresses of their values.
    shared: HashMap<*const Dynamic, u64>,
    depth: usize,
}

/// Adds a script's value to `out`, and the tensors and shared variables in it to `met`.
///
/// # Errors
/// What can't be compared, as the object of "holds": `a timestamp, which can't be compared`.
pub fn value(
    out: &mut Hasher,
    of: &Dynamic,
    met: &mut Met,
    functions: &dyn FunctionDigests,
) -> Result<(), String> {
    if met.depth == MAX_DEPTH {
        return Err("values nested too deeply to compare".into());
    }
    met.depth += 1;
    let told = inner(out, of, met, functions);
    met.depth -= 1;
    told
}

fn inner(
    out: &mut Hasher,
    of: &Dynamic,
    met: &mut Met,
    functions: &dyn FunctionDigests,
) -> Result<(), String> {
    if of.is_shared() {
        // A variable that a closure shares with the script.
        let Some(held) = of.read_lock::<Dynamic>() else {
            return Err("a variable that is in use".into());
        };
        let number = met.shared.len() as u64;
        if let Some(known) = met.shared.get(&(&raw const *held)) {
            out.text("shared");
            out.number(*known);
            return Ok(());
        }
        met.shared.insert(&raw const *held, number);
        return value(out, &held, met, functions);
    }
    out.text(of.type_name());
    if let Some(handle) = of.read_lock::<Handle>() {
        return tensor(out, &handle, &mut met.handles);
    }
    if let Some(array) = of.read_lock::<Array>() {
        out.number(array.len() as u64);
        return array.iter().try_for_each(|item| value(out, item, met, functions));
    }
    if let Some(map) = record::read(of) {
        out.number(map.len() as u64);
        return map.iter().try_for_each(|(key, item)| {
            out.text(key);
            value(out, item, met, functions)
        });
    }
    if let Some(function) = of.read_lock::<FnPtr>() {
        out.bytes(&functions.digest(&function).map_err(|why| format!("a function that {why}"))?);
        return function.iter_curry().try_for_each(|captured| value(out, captured, met, functions));
    }
    if let Some(model) = of.read_lock::<Model>() {
        if model.loaded().decoder.has_variables() {
            return Err("a model whose weights are variables".into());
        }
        out.number(model.loaded().number);
        return Ok(());
    }
    match plain(of) {
        Some(text) => out.text(&text),
        None => return Err(format!("{}, which can't be compared", a(&describe(of)))),
    }
    Ok(())
}

fn tensor(out: &mut Hasher, of: &Handle, handles: &mut Vec<Handle>) -> Result<(), String> {
    if let Some(at) = handles.iter().position(|known| known.same(of)) {
        out.number(at as u64);
        return Ok(());
    }
    if of.value().is_tracked() {
        return Err("a tensor whose gradients are kept".into());
    }
    out.number(handles.len() as u64);
    handles.push(of.clone());
    out.bytes(&of.digest(elements).map_err(|error| error.to_string())?);
    match of.mask() {
        Some(mask) => tensor(out, &mask, handles),
        None => Ok(()),
    }
}

/// The digest of a tensor: dtype, device, shape and every element.
fn elements(of: &Value) -> Result<Digest> {
    let mut out = Hasher::default();
    out.text(of.dtype_name());
    out.text(&crate::tensor::device::name(of.device()));
    of.dims().iter().for_each(|size| out.number(*size as u64));
    match of {
        Value::Complex(parts) => {
            out.bytes(&to_le_bytes(&Value::Real(parts.re.clone()))?);
            out.bytes(&to_le_bytes(&Value::Real(parts.im.clone()))?);
        }
        value => out.bytes(&to_le_bytes(value)?),
    }
    Ok(out.finish())
}
