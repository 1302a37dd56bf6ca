//! What tells whether two values, two pieces of code or two passes are the same: SHA-256 over all
//! that they hold.

use std::collections::HashMap;

use rhai::{Array, Dynamic, FnPtr};
use sha2::{Digest as _, Sha256};

use super::call_graph::Sight;
use crate::Result;
use crate::script::bind::model::Model;
use crate::script::reference::vocabulary::a;
use crate::script::tensor::Handle;
use crate::script::value::options::describe;
use crate::script::value::record;
use crate::tensor::Value;
use crate::tensor::transfer::bytes::to_le_bytes;

pub type Digest = [u8; 32];

/// Takes in what belongs to one digest. Everything has its length before it, so that no two
/// sequences run together.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    pub fn finish(self) -> Digest {
        self.0.finalize().into()
    }
}

/// How deep values may stand within one another.
const DEEPEST: usize = 200;

/// What has been met on the way through some values. What is met again is told by its number: a
/// value that a closure captured may hold that closure, and so itself.
#[derive(Default)]
pub struct Met {
    pub handles: Vec<Handle>,
    /// The variables that closures share, by where their values are.
    shared: HashMap<*const Dynamic, u64>,
    depth: usize,
}

/// Takes in a script's value: what it holds, and which of its tensors and shared variables are one
/// and the same. Those are added to `met`.
///
/// # Errors
/// What it holds that can't be compared, as in "it holds a timestamp, …".
pub fn value(out: &mut Hasher, of: &Dynamic, met: &mut Met, sight: &Sight) -> Result<(), String> {
    if met.depth == DEEPEST {
        return Err("values nested too deeply to compare".into());
    }
    met.depth += 1;
    let told = inner(out, of, met, sight);
    met.depth -= 1;
    told
}

fn inner(out: &mut Hasher, of: &Dynamic, met: &mut Met, sight: &Sight) -> Result<(), String> {
    if of.is_shared() {
        // A variable that a closure shares with the script; its value is what counts.
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
        return value(out, &held, met, sight);
    }
    out.text(of.type_name());
    if let Some(handle) = of.read_lock::<Handle>() {
        return tensor(out, &handle, &mut met.handles);
    }
    if let Some(array) = of.read_lock::<Array>() {
        out.number(array.len() as u64);
        return array.iter().try_for_each(|item| value(out, item, met, sight));
    }
    if let Some(map) = record::read(of) {
        out.number(map.len() as u64);
        return map.iter().try_for_each(|(key, item)| {
            out.text(key);
            value(out, item, met, sight)
        });
    }
    if let Some(function) = of.read_lock::<FnPtr>() {
        out.bytes(&sight.function(&function).map_err(|why| format!("a function that {why}"))?);
        return function.iter_curry().try_for_each(|captured| value(out, captured, met, sight));
    }
    if let Some(model) = of.read_lock::<Model>() {
        out.number(model.loaded().number);
        return Ok(());
    }
    match plain(of) {
        Some(text) => out.text(&text),
        None => return Err(format!("{}, which can't be compared", a(&describe(of)))),
    }
    Ok(())
}

/// A value that is nothing but its text.
pub fn plain(value: &Dynamic) -> Option<String> {
    if let Ok(number) = value.as_float() {
        return Some(number.to_bits().to_string());
    }
    let range = value.read_lock::<std::ops::Range<i64>>().map(|range| format!("{range:?}"));
    let range = range.or_else(|| {
        value.read_lock::<std::ops::RangeInclusive<i64>>().map(|range| format!("{range:?}"))
    });
    let known = value.is_unit()
        || value.is_bool()
        || value.is_int()
        || value.is_char()
        || value.is_string();
    range.or_else(|| known.then(|| value.to_string()))
}

fn tensor(out: &mut Hasher, of: &Handle, handles: &mut Vec<Handle>) -> Result<(), String> {
    if let Some(at) = handles.iter().position(|known| known.same(of)) {
        out.number(at as u64);
        return Ok(());
    }
    out.number(handles.len() as u64);
    handles.push(of.clone());
    out.bytes(&of.digest(elements).map_err(|error| error.to_string())?);
    match of.mask() {
        Some(mask) => tensor(out, &mask, handles),
        None => Ok(()),
    }
}

/// Dtype, device, shape and every element.
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
