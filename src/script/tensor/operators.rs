//! Operators between tensors, and between a tensor and a number on either side.

use rhai::Engine;

use super::Handle;
use super::arguments::{Side, combine, derive};
use crate::Result;
use crate::script::error::ScriptResult;
use crate::tensor::arithmetic::{self, Arithmetic};
use crate::tensor::comparison::{self, Comparison, Logic};
use crate::tensor::{Number, Operand, Value};

pub fn install(engine: &mut Engine) {
    for op in [Arithmetic::Add, Arithmetic::Sub, Arithmetic::Mul, Arithmetic::Div, Arithmetic::Rem, Arithmetic::Pow] {
        binary(engine, op.name(), move |a, b| op.apply(a, b));
    }
    for op in [Arithmetic::Minimum, Arithmetic::Maximum] {
        binary(engine, op.name(), move |a, b| op.apply(a, b));
    }
    for op in [Comparison::Eq, Comparison::Ne, Comparison::Lt, Comparison::Le, Comparison::Gt, Comparison::Ge] {
        binary(engine, op.name(), move |a, b| op.apply(a, b));
    }
    for op in [Logic::And, Logic::Or, Logic::Xor] {
        binary(engine, op.name(), move |a, b| op.apply(a, b));
    }
    engine.register_fn("-", |x: &mut Handle| -> ScriptResult<Handle> { Ok(derive(x, arithmetic::negate)?) });
    engine.register_fn("+", |x: Handle| x);
    engine.register_fn("!", |x: &mut Handle| -> ScriptResult<Handle> { Ok(derive(x, comparison::not)?) });
}

/// Registers `name` for two tensors, and for a tensor with an integer, a float or a bool on either side.
fn binary(engine: &mut Engine, name: &'static str, run: impl Fn(Operand, Operand) -> Result<Value> + Copy + 'static) {
    let apply = move |a: Side, b: Side| -> ScriptResult<Handle> { Ok(combine(&a, &b, run)?) };
    engine.register_fn(name, move |a: Handle, b: Handle| apply(Side::Tensor(a), Side::Tensor(b)));
    macro_rules! with_number {
        ($T:ty, $number:path) => {
            engine.register_fn(name, move |a: Handle, b: $T| apply(Side::Tensor(a), Side::Number($number(b))));
            engine.register_fn(name, move |a: $T, b: Handle| apply(Side::Number($number(a)), Side::Tensor(b)));
        };
    }
    with_number!(i64, Number::Int);
    with_number!(f64, Number::Float);
    with_number!(bool, Number::Bool);
}
