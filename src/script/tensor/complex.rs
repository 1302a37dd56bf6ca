//! `.real`, `.imag`, `angle`, `conj`: the parts of complex tensors.

use candle_core::Tensor;
use rhai::Dynamic;

use super::arguments::{Side, derive, derive_anew};
use super::{Handle, Masks};
use crate::script::declare::{Gradient, OnGpu, Page, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::value::options::describe;
use crate::tensor::elementwise::complex;
use crate::tensor::index::{masked, subscript};
use crate::tensor::{Complex, Operand, Value};
use crate::{Result, error};

/// Registers the parts of complex tensors.
pub fn install(registry: &mut Registry) {
    registry.section(Page::Tensors, "Complex numbers");
    registry
        .declare(".real", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "the real part",
            r#"tensor([1.0, 2.0]).to("c64").real"#,
            "tensor [2] f32 cpu: [1.0, 2.0]",
        )
        .get(|t: &mut Handle| -> ScriptResult<Handle> {
            Ok(derive(t, Masks::Stay, complex::real)?)
        })
        .set(|t: &mut Handle, part: Dynamic| -> ScriptResult<()> { Ok(set_part(t, part, 0)?) });
    registry
        .declare(".imag", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "the imaginary part",
            r#"tensor([1.0, 2.0]).to("c64").imag"#,
            "tensor [2] f32 cpu: [0.0, 0.0]",
        )
        .get(|t: &mut Handle| -> ScriptResult<Handle> { Ok(derive(t, Masks::End, complex::imag)?) })
        .set(|t: &mut Handle, part: Dynamic| -> ScriptResult<()> { Ok(set_part(t, part, 1)?) });
    registry
        .declare("angle(x)", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes)
        .row(
            "the angle in radians, in (-π, π]",
            r#"tensor([1.0, -1.0]).to("c64").angle()"#,
            "tensor [2] f32 cpu: [0.0, 3.1416]",
        )
        .on_tensor(1..=1, |call| {
            derive_anew(&call.tensor(0, "a tensor")?, Masks::Stay, complex::angle)
        });
    registry
        .declare("conj(x)", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "the complex conjugate",
            r#"(tensor([-4.0]).to("c64") ** 0.5).conj()"#,
            "tensor [1] c64 cpu: [0.0-2.0i]",
        )
        .on_tensor(1..=1, |call| {
            derive_anew(&call.tensor(0, "a tensor")?, Masks::Stay, complex::conj)
        });
}

/// Sets the real part (0) or the imaginary part (1). Rhai also calls the setter after a method call
/// such as `z.real.to_array()`, with the unchanged part, which must not count as a write.
fn set_part(t: &Handle, source: Dynamic, part: usize) -> Result<()> {
    let Some(source) = Side::read(&source) else {
        return Err(error!(
            "a part of a tensor can be set to a tensor or a number, not {}",
            describe(&source)
        ));
    };
    let given;
    let source = match source {
        Side::Number(number) => Operand::Number(number),
        Side::Tensor(handle) => {
            given = handle.value().clone();
            Operand::Tensor(&given)
        }
    };
    if unchanged(&t.value(), source, part)? {
        return Ok(());
    }
    if part == 1 && t.value().parts().len() == 1 {
        return Err(error!("a real tensor has no imaginary part to write")
            .help("convert it first, with .to(\"c64\")"));
    }
    if t.is_recorded_with(source) {
        return t.rewrite(|target| {
            let put = |of: &Tensor| -> Result<Tensor> {
                let of = Value::Real(of.clone());
                Ok(subscript::put(&of, &[], source)?.real("this")?.clone())
            };
            Ok(match target {
                Value::Complex(Complex { re, im }) if part == 0 => {
                    Value::Complex(Complex { re: put(re)?, im: im.clone() })
                }
                Value::Complex(Complex { re, im }) => {
                    Value::Complex(Complex { re: re.clone(), im: put(im)? })
                }
                other => Value::Real(put(other.real("this")?)?),
            })
        });
    }
    t.write(|target| {
        let target = match target {
            Value::Complex(c) => Value::Real(if part == 0 { c.re.clone() } else { c.im.clone() }),
            other => other.clone(),
        };
        subscript::set(&target, &[], source)
    })
}

/// Whether `source` equals the part already.
fn unchanged(value: &Value, source: Operand, part: usize) -> Result<bool> {
    let Operand::Tensor(source) = source else { return Ok(false) };
    match value.parts().get(part) {
        Some(tensor) => subscript::holds(&Value::Real((*tensor).clone()), &[], source),
        None => Ok(masked::nonzero(source)?.dims()[0] == 0),
    }
}
