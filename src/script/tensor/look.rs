//! What a tensor says of itself: `.shape`, `.item()`, `for row in t`, printing.

use rhai::{Array, Dynamic, Engine, EvalAltResult, FLOAT, INT};

use super::Handle;
use super::arguments::derive;
use crate::script::error::ScriptResult;
use crate::tensor::{Number, Value, complex, device, make, pick, summary};
use crate::{Result, error};

/// The names after a dot that are no calls.
pub(super) const PROPERTIES: &[&str] = &["shape", "rank", "dtype", "device", "len", "numel", "real", "imag"];

pub fn install(engine: &mut Engine) {
    engine.register_type_with_name::<Handle>("tensor");
    engine.register_get("shape", |t: &mut Handle| -> Array {
        t.value().dims().iter().map(|&size| Dynamic::from(size as INT)).collect()
    });
    engine.register_get("rank", |t: &mut Handle| t.value().rank() as INT);
    engine.register_get("dtype", |t: &mut Handle| t.value().dtype_name());
    engine.register_get("device", |t: &mut Handle| device::name(t.value().device()));
    engine.register_get("len", |t: &mut Handle| -> ScriptResult<INT> { Ok(len(&t.value())? as INT) });
    engine.register_get("numel", |t: &mut Handle| t.value().numel() as INT);
    engine.register_get("real", |t: &mut Handle| -> ScriptResult<Handle> {
        Ok(derive(t, |value| Ok(complex::real(value)))?)
    });
    engine.register_get("imag", |t: &mut Handle| -> ScriptResult<Handle> { Ok(derive(t, complex::imag)?) });

    engine.register_fn("item", |t: &mut Handle| -> ScriptResult<Dynamic> { Ok(item(&t.value())?) });
    engine.register_fn("to_array", |t: &mut Handle| -> ScriptResult<Dynamic> { Ok(to_array(&t.value())?) });
    engine.register_fn("to_string", |t: &mut Handle| -> ScriptResult<String> { Ok(summary::summary(&t.value())?) });
    engine.register_fn("to_debug", |t: &mut Handle| -> ScriptResult<String> { Ok(summary::summary(&t.value())?) });
    engine.register_iterator_result::<Handle, Handle>();
}

/// The size of the first dim.
fn len(value: &Value) -> Result<usize> {
    value
        .dims()
        .first()
        .copied()
        .ok_or_else(|| error!("a tensor without dims has no length").help("use .item() for its number"))
}

fn item(value: &Value) -> Result<Dynamic> {
    if value.numel() != 1 {
        return Err(error!("item needs a tensor of one element, not {:?}", value.dims())
            .help("index it first, as in t[0], or take .to_array()"));
    }
    Ok(dynamic(make::to_numbers(value)?[0]))
}

fn to_array(value: &Value) -> Result<Dynamic> {
    let numbers: Vec<Dynamic> = make::to_numbers(value)?.into_iter().map(dynamic).collect();
    Ok(nested(&mut numbers.into_iter(), value.dims()))
}

fn nested(numbers: &mut impl Iterator<Item = Dynamic>, dims: &[usize]) -> Dynamic {
    match dims {
        [] => numbers.next().unwrap_or_default(),
        [size, inner @ ..] => (0..*size).map(|_| nested(numbers, inner)).collect::<Array>().into(),
    }
}

fn dynamic(number: Number) -> Dynamic {
    match number {
        Number::Bool(b) => b.into(),
        Number::Int(i) => i.into(),
        Number::Float(f) => (f as FLOAT).into(),
    }
}

/// The slices of the first dim, one after the other.
pub struct Rows {
    tensor: Handle,
    next: usize,
}

impl IntoIterator for Handle {
    type Item = Result<Handle, Box<EvalAltResult>>;
    type IntoIter = Rows;

    /// Over the tensor as it stands: what the loop writes into it does not show in later rows.
    fn into_iter(self) -> Rows {
        let tensor = Handle::derived(self.value().clone(), &[&self]);
        Rows { tensor, next: 0 }
    }
}

impl Iterator for Rows {
    type Item = Result<Handle, Box<EvalAltResult>>;

    fn next(&mut self) -> Option<Self::Item> {
        let len = match len(&self.tensor.value()) {
            Ok(len) => len,
            Err(error) if self.next == 0 => {
                self.next = 1;
                return Some(Err(error.into()));
            }
            Err(_) => return None,
        };
        if self.next >= len {
            return None;
        }
        let row = derive(&self.tensor, |value| pick::select(value, 0, self.next as i64));
        self.next += 1;
        Some(row.map_err(Into::into))
    }
}
