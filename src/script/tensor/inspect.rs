//! What a tensor says of itself: `.shape`, `.item()`, `for row in t`, printing.

use rhai::{Array, Dynamic, Engine, EvalAltResult, FLOAT, INT};

use super::arguments::{Side, derive};
use super::{Handle, Masks};
use crate::output::picture;
use crate::script::errors::error::ScriptResult;
use crate::script::value::handed_out;
use crate::script::value::options::describe;
use crate::tensor::elementwise::complex;
use crate::tensor::index::{masked, select, subscript};
use crate::tensor::shape::view;
use crate::tensor::{Number, Operand, Value, creation, device, summary};
use crate::{Result, error};

/// What to do instead of writing into `.shape`.
const RESHAPE: &str = "x.reshape([2, 3]) gives the elements in another shape; \
     let shape = x.shape; makes an array that can be changed";

pub fn install(engine: &mut Engine) {
    engine.register_type_with_name::<Handle>("tensor");
    handed_out::property(engine, "shape", RESHAPE, |t: &mut Handle| -> ScriptResult<Array> {
        Ok(t.value().dims().iter().map(|&size| Dynamic::from(size as INT)).collect())
    });
    engine.register_get("rank", |t: &mut Handle| t.value().rank() as INT);
    engine.register_get("dtype", |t: &mut Handle| t.value().dtype_name());
    engine.register_get("device", |t: &mut Handle| device::name(t.value().device()));
    engine
        .register_get("len", |t: &mut Handle| -> ScriptResult<INT> { Ok(len(&t.value())? as INT) });
    engine.register_get("numel", |t: &mut Handle| t.value().numel() as INT);
    engine.register_get("real", |t: &mut Handle| -> ScriptResult<Handle> {
        Ok(derive(t, Masks::Stay, |value| Ok(complex::real(value)))?)
    });
    engine.register_get("imag", |t: &mut Handle| -> ScriptResult<Handle> {
        Ok(derive(t, Masks::End, complex::imag)?)
    });
    engine.register_set("real", |t: &mut Handle, part: Dynamic| -> ScriptResult<()> {
        Ok(set_part(t, part, 0)?)
    });
    engine.register_set("imag", |t: &mut Handle, part: Dynamic| -> ScriptResult<()> {
        Ok(set_part(t, part, 1)?)
    });

    engine.register_get("T", |t: &mut Handle| -> ScriptResult<Handle> {
        Ok(derive(t, Masks::Follow, view::t)?)
    });
    engine.register_set("T", |t: &mut Handle, source: Dynamic| -> ScriptResult<()> {
        Ok(set_turned(t, &source)?)
    });

    engine.register_fn("fixed", |t: &mut Handle, digits: INT| -> ScriptResult<Dynamic> {
        Ok(fixed(&t.value(), digits)?)
    });
    engine.register_fn("item", |t: &mut Handle| -> ScriptResult<Dynamic> { Ok(item(&t.value())?) });
    engine.register_fn("to_array", |t: &mut Handle| -> ScriptResult<Dynamic> {
        Ok(to_array(&t.value())?)
    });
    engine.register_fn("to_string", |t: &mut Handle| -> ScriptResult<String> {
        Ok(summary::summary(&t.value())?)
    });
    engine.register_fn("to_debug", |t: &mut Handle| -> ScriptResult<String> {
        Ok(summary::summary(&t.value())?)
    });
    engine.register_iterator_result::<Handle, Handle>();
}

/// `z.real = x`, and what Rhai writes back after `z.real[0] = 1` or `z.real.to_array()`: the latter
/// changed nothing.
fn set_part(t: &Handle, source: Dynamic, part: usize) -> Result<()> {
    let Some(source) = Side::read(&source) else {
        return Err(error!(
            "a part of a tensor can be set to a tensor or a number, not {}",
            describe(&source)
        ));
    };
    if source.with(|source| unchanged(&t.value(), source, part))? {
        return Ok(());
    }
    if part == 1 && t.value().parts().len() == 1 {
        return Err(error!("a real tensor has no imaginary part to write")
            .help("convert it first, with .to(\"c64\")"));
    }
    t.write(|target| {
        let target = match target {
            Value::Complex(c) => Value::Real(if part == 0 { c.re.clone() } else { c.im.clone() }),
            other => other.clone(),
        };
        source.with(|source| subscript::set(&target, &[], source))
    })
}

/// `x.T = y`, and what Rhai writes back after `x.T[0] = 1` or `x.T.sum()`: the latter changed
/// nothing.
fn set_turned(t: &Handle, source: &Dynamic) -> Result<()> {
    let turned = match source.read_lock::<Handle>() {
        Some(source) => Dynamic::from(derive(&source, Masks::Follow, view::t)?),
        None => source.clone(),
    };
    super::index::assign(t, &[], turned)
}

/// The elements as texts with so many digits after the point, in nested arrays; of a tensor without
/// dims one text.
fn fixed(value: &Value, digits: INT) -> Result<Dynamic> {
    let digits = picture::digits(digits)?;
    let text = |x: Number| picture::fixed(x.to_f64(), digits);
    let texts: Vec<Dynamic> = match value {
        Value::Complex(_) => {
            let parts = [complex::real(value), complex::imag(value)?];
            let [re, im] = [creation::to_numbers(&parts[0])?, creation::to_numbers(&parts[1])?];
            let sign = |x: Number| if x.to_f64().is_sign_negative() { "" } else { "+" };
            re.into_iter()
                .zip(im)
                .map(|(re, im)| format!("{}{}{}i", text(re), sign(im), text(im)).into())
                .collect()
        }
        Value::Bool(_) => return Err(error!("fixed writes numbers, and the tensor is of bool")),
        Value::Real(_) => {
            creation::to_numbers(value)?.into_iter().map(|x| text(x).into()).collect()
        }
    };
    Ok(nested(&mut texts.into_iter(), value.dims()))
}

/// Whether `source` is that part as it stands.
fn unchanged(value: &Value, source: Operand, part: usize) -> Result<bool> {
    let Operand::Tensor(source) = source else { return Ok(false) };
    match value.parts().get(part) {
        Some(tensor) => Ok(subscript::same_elements(&Value::Real((*tensor).clone()), source)),
        None => Ok(masked::nonzero(source)?.dims()[0] == 0),
    }
}

/// The size of the first dim.
fn len(value: &Value) -> Result<usize> {
    value.dims().first().copied().ok_or_else(|| {
        error!("a tensor without dims has no length").help("use .item() for its number")
    })
}

fn item(value: &Value) -> Result<Dynamic> {
    value.real("item")?;
    if value.numel() != 1 {
        return Err(error!("item needs a tensor of one element, not {:?}", value.dims())
            .help("index it first, as in t[0], or take .to_array()"));
    }
    Ok(dynamic(creation::to_numbers(value)?[0]))
}

fn to_array(value: &Value) -> Result<Dynamic> {
    value.real("to_array")?;
    let numbers: Vec<Dynamic> = creation::to_numbers(value)?.into_iter().map(dynamic).collect();
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
        Rows { tensor: self.twin(), next: 0 }
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
        let row =
            derive(&self.tensor, Masks::Follow, |value| select::select(value, 0, self.next as i64));
        self.next += 1;
        Some(row.map_err(Into::into))
    }
}
