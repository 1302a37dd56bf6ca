//! Operators between tensors, and between a tensor and a number on either side.

use rhai::Engine;

use super::arguments::{Side, combine, derive};
use super::handle::mask;
use super::{Handle, Masks};
use crate::script::errors::error::ScriptResult;
use crate::tensor::elementwise::arithmetic;
use crate::tensor::elementwise::arithmetic::Arithmetic;
use crate::tensor::elementwise::comparison::Comparison;
use crate::tensor::elementwise::logic::{self, Logic};
use crate::tensor::{Kind, Number, Operand, Value};
use crate::{Result, error};

pub fn install(engine: &mut Engine) {
    use Arithmetic::{Add, Div, Mul, Pow, Rem, Sub};
    for (op, in_place) in
        [(Add, "+="), (Sub, "-="), (Mul, "*="), (Div, "/="), (Rem, "%="), (Pow, "**=")]
    {
        binary(engine, op.name(), Masks::Stay, move |a, b| op.apply(a, b));
        assigning(engine, in_place, move |a, b| op.apply(a, b));
    }
    for op in [Arithmetic::Minimum, Arithmetic::Maximum] {
        binary(engine, op.name(), Masks::Stay, move |a, b| op.apply(a, b));
    }
    for op in [
        Comparison::Eq,
        Comparison::Ne,
        Comparison::Lt,
        Comparison::Le,
        Comparison::Gt,
        Comparison::Ge,
    ] {
        binary(engine, op.name(), Masks::End, move |a, b| op.apply(a, b));
    }
    for (op, in_place) in [(Logic::And, "&="), (Logic::Or, "|="), (Logic::Xor, "^=")] {
        binary(engine, op.name(), Masks::Stay, move |a, b| op.apply(a, b));
        assigning(engine, in_place, move |a, b| op.apply(a, b));
    }
    engine.register_fn("-", |x: &mut Handle| -> ScriptResult<Handle> {
        Ok(derive(x, Masks::Stay, arithmetic::negate)?)
    });
    engine.register_fn("+", |x: Handle| x);
    engine.register_fn("!", |x: &mut Handle| -> ScriptResult<Handle> {
        Ok(derive(x, Masks::Stay, logic::not)?)
    });
}

/// Registers `name` for two tensors, and for a tensor with an integer, a float or a bool on either
/// side.
fn binary(
    engine: &mut Engine,
    name: &'static str,
    masks: Masks,
    run: impl Fn(Operand, Operand) -> Result<Value> + Copy + 'static,
) {
    let apply =
        move |a: Side, b: Side| -> ScriptResult<Handle> { Ok(combine(&a, &b, masks, run)?) };
    engine.register_fn(name, move |a: Handle, b: Handle| apply(Side::Tensor(a), Side::Tensor(b)));
    macro_rules! with_number {
        ($T:ty, $number:path) => {
            engine.register_fn(name, move |a: Handle, b: $T| {
                apply(Side::Tensor(a), Side::Number($number(b)))
            });
            engine.register_fn(name, move |a: $T, b: Handle| {
                apply(Side::Number($number(a)), Side::Tensor(b))
            });
        };
    }
    with_number!(i64, Number::Int);
    with_number!(f64, Number::Float);
    with_number!(bool, Number::Bool);
}

/// Registers `x op= y`, which writes into x as PyTorch's does: a hook's `x *= 0.5` takes effect.
fn assigning(
    engine: &mut Engine,
    name: &'static str,
    run: impl Fn(Operand, Operand) -> Result<Value> + Copy + 'static,
) {
    let apply = move |x: &Handle, y: Side| -> ScriptResult<()> {
        let value = y.with(|y| run(Operand::Tensor(&x.value()), y))?;
        let mask = match y.handle().and_then(Handle::mask) {
            Some(_) => mask::agreed([Some(x), y.handle()], value.dims())?,
            None => None,
        };
        drop(y);
        overwrite(name, x, &value)?;
        Ok(mask.map_or(Ok(()), |mask| x.mark(mask))?)
    };
    engine.register_fn(name, move |x: &mut Handle, y: Handle| apply(x, Side::Tensor(y)));
    engine.register_fn(name, move |x: &mut Handle, y: i64| apply(x, Side::Number(Number::Int(y))));
    engine
        .register_fn(name, move |x: &mut Handle, y: f64| apply(x, Side::Number(Number::Float(y))));
    engine
        .register_fn(name, move |x: &mut Handle, y: bool| apply(x, Side::Number(Number::Bool(y))));
}

fn overwrite(name: &str, x: &Handle, value: &Value) -> Result<()> {
    let (old, new) = (Kind::of(&x.value()), Kind::of(value));
    if new.category() > old.category() || x.value().dims() != value.dims() {
        let op = name.trim_end_matches('=');
        return Err(error!(
            "{name} writes into a tensor {:?} of {}, which cannot hold the result: {:?} of {}",
            x.value().dims(),
            old.name(),
            value.dims(),
            new.name()
        )
        .help(format!("write x = x {op} y for a new tensor")));
    }
    x.assign(&[], Operand::Tensor(value))
}
