//! Reading tensors: `.shape`, `.item()`, `for row in t`, printing.

use rhai::{Array, Dynamic, EvalAltResult, FLOAT, INT};

use super::arguments::derive;
use super::handle::mask;
use super::{Handle, Masks};
use crate::output::picture;
use crate::script::declare::{Gradient, OnGpu, Page, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::value::handed_out;
use crate::tensor::elementwise::complex;
use crate::tensor::index::select;
use crate::tensor::{Number, Value, creation, device, summary};
use crate::{Result, error};

/// The help of the error for writing to `.shape`.
const RESHAPE: &str = "x.reshape([2, 3]) gives the elements in another shape; \
     let shape = x.shape; makes an array that can be changed";

/// Registers the properties of tensors, their conversion to numbers and texts, and their iteration.
pub fn install(registry: &mut Registry) {
    registry.type_name::<Handle>("tensor");
    registry.section(Page::Tensors, "Looking at tensors");
    let shape = registry.declare(".shape", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Outside).row(
        "the sizes of the dims",
        "zeros(2, 3).shape",
        "[2, 3]",
    );
    handed_out::property(shape, RESHAPE, |t: &mut Handle| -> ScriptResult<Array> {
        Ok(t.value().dims().iter().map(|&size| Dynamic::from(size as INT)).collect())
    });
    registry
        .declare(".rank", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Outside)
        .row("the number of dims", "zeros(2, 3).rank", "2")
        .get(|t: &mut Handle| t.value().rank() as INT);
    registry
        .declare(".dtype", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Outside)
        .row(
            "f32, f64, f16, bf16, i64, u32, u8, bool; complex: c64, c128",
            "arange(3).dtype",
            "i64",
        )
        .get(|t: &mut Handle| t.value().dtype_name());
    registry
        .declare(".device", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Outside)
        .row("where it is", "zeros(2).device", "cpu")
        .get(|t: &mut Handle| device::name(t.value().device()));
    registry
        .declare(".len", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Outside)
        .row("the size of the first dim", "zeros(2, 3).len", "2")
        .get(|t: &mut Handle| -> ScriptResult<INT> { Ok(len(&t.value())? as INT) });
    registry
        .declare(".numel", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Outside)
        .row("the number of elements", "zeros(2, 3).numel", "6")
        .get(|t: &mut Handle| t.value().numel() as INT);
    mask::install(registry);
    registry
        .declare("item(x)", Purity::Pure, OnGpu::FETCHED, Gradient::Outside)
        .row("the number in a tensor of one element", "tensor([[2.5]]).item() + 1.0", "3.5")
        .function(|t: &mut Handle| -> ScriptResult<Dynamic> { Ok(item(&t.value())?) });
    registry
        .declare("to_array(x)", Purity::Pure, OnGpu::FETCHED, Gradient::Outside)
        .row("nested arrays of numbers", "tensor([[1, 2], [3, 4]]).to_array()", "[[1, 2], [3, 4]]")
        .function(|t: &mut Handle| -> ScriptResult<Dynamic> { Ok(to_array(&t.value())?) });
    registry
        .declare("fixed(x, digits)", Purity::Pure, OnGpu::FETCHED, Gradient::Outside)
        .row(
            "the elements, or a number, as texts with so many digits after the point",
            "[tensor([1.0, 2.345]).fixed(2), 0.5.fixed(3)]",
            r#"[["1.00", "2.35"], "0.500"]"#,
        )
        .function(|t: &mut Handle, digits: INT| -> ScriptResult<Dynamic> {
            Ok(fixed(&t.value(), digits)?)
        });
    registry
        .declare("for", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Yes)
        .row(
            "the slices of the first dim, one after the other",
            "let sums = []; for row in tensor([[1, 2], [3, 4]]) { sums += (row[0] * \
            row[1]).item(); } sums",
            "[2, 12]",
        )
        .iterator::<Handle, Handle>();
    registry
        .declare("print(x)", Purity::Pure, OnGpu::FETCHED, Gradient::Outside)
        .row(
            "all of a small tensor; of a large one its statistics and first elements",
            "arange(1000)",
            "tensor [1000] i64 cpu: mean 499.5, std 288.82, min 0, max 999: [0, 1, 2, 3, 4, \
            5, …]",
        )
        .shown(|t: &mut Handle| -> ScriptResult<String> { Ok(summary::summary(&t.value())?) });
}

/// The elements as nested arrays of strings with `digits` digits after the point; one string for a
/// tensor without dims.
fn fixed(value: &Value, digits: INT) -> Result<Dynamic> {
    let digits = picture::digits(digits)?;
    let text = |x: Number| picture::fixed(x.to_f64(), digits);
    let texts: Vec<Dynamic> = match value {
        Value::Complex(_) => {
            let parts = [complex::real(value)?, complex::imag(value)?];
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

/// Iterates over the slices of the first dim.
pub struct Rows {
    tensor: Handle,
    next: usize,
}

impl IntoIterator for Handle {
    type Item = Result<Handle, Box<EvalAltResult>>;
    type IntoIter = Rows;

    /// Iterates over the tensor as it is now: a write in the loop does not affect later rows.
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
