//! Operators and functions of plain numbers, so that they mean the same as for tensors. They
//! replace Rhai's own, whose `log` is to base 10, whose `round` rounds halves away from 0, whose `%`
//! has the sign of the dividend, and in which every comparison with infinity is false.

use rhai::{Dynamic, Engine, FLOAT, INT, Variant};

use super::arguments::number;
use crate::output::picture;
use crate::script::declare::{Declaration, Gradient, OnGpu, Page, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::value::options::describe;
use crate::tensor::Number;
use crate::tensor::elementwise::arithmetic::modulo;
use crate::tensor::elementwise::finite::FloatClass;
use crate::tensor::elementwise::function::Function;
use crate::tensor::elementwise::integer::Integer;
use crate::tensor::elementwise::piecewise::PiecewiseLinear;
use crate::{Result, bail, error};

/// Names of numbers, which are known in functions too; a variable of the same name hides them.
const CONSTANTS: [(&str, FLOAT); 3] =
    [("inf", FLOAT::INFINITY), ("nan", FLOAT::NAN), ("pi", std::f64::consts::PI)];

/// The number that a name stands for where there is no variable of that name.
pub fn constant(name: &str) -> Option<FLOAT> {
    CONSTANTS.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// Configures an engine to use the operators and constants of this module.
pub fn configure(engine: &mut Engine) {
    // With fast operators Rhai uses its own between numbers and never looks up registered ones.
    engine.set_fast_operators(false);
    #[allow(deprecated)] // Rhai's word for "may change in the future".
    engine.on_var(|name, _, context| match context.scope().get(name) {
        Some(_) => Ok(None),
        None => Ok(constant(name).map(Dynamic::from)),
    });
}

/// Registers the operators and functions of numbers.
pub fn install(registry: &mut Registry) {
    registry.section(Page::Tensors, "Numbers");
    registry.describe("inf").row_titled(
        "`inf`, `nan`, `pi`",
        "numbers that have a name, in functions too; a variable of that name hides them",
        "[1.0 < inf, isnan(nan), pi.round()]",
        "[true, true, 3.0]",
    );
    registry.describe("functions of a number").row_titled(
        "functions of a number",
        "every function of each element, and `%`, `**`, `minimum` …, take plain numbers \
        too and give what a tensor without dims gives",
        "[0.5.round(), -7 % 3, 100.log10(), max(1, 2.5)]",
        "[0.0, 2, 2.0, 2.5]",
    );
    install_remainders(registry);
    install_comparisons(registry);
    install_functions(registry);
    install_bounds(registry);
    registry
        .declare("to_int(x)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row("the whole part of a number; an error where no integer is it", "(7.9).to_int()", "7")
        .function(|x: FLOAT| -> ScriptResult<INT> { Ok(to_int(x)?) });
    registry
        .declare("fixed(x, digits)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .function(|x: FLOAT, digits: INT| -> ScriptResult<String> { Ok(fixed(x, digits)?) })
        .function(|x: INT, digits: INT| -> ScriptResult<String> { Ok(fixed(x as FLOAT, digits)?) });
}

/// Registers a function of two numbers, at least one of them a float.
fn between_floats<'r, R: Variant + Clone>(
    declaration: Declaration<'r>,
    f: impl Fn(FLOAT, FLOAT) -> R + Copy + 'static,
) -> Declaration<'r> {
    declaration
        .function(move |x: FLOAT, y: FLOAT| f(x, y))
        .function(move |x: INT, y: FLOAT| f(x as FLOAT, y))
        .function(move |x: FLOAT, y: INT| f(x, y as FLOAT))
}

/// Declares a pure function of numbers.
fn pure<'r>(registry: &'r mut Registry, signature: &'static str) -> Declaration<'r> {
    registry.declare(signature, Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
}

fn install_remainders(registry: &mut Registry) {
    between_floats(pure(registry, "%"), modulo)
        .function(|x: INT, y: INT| -> ScriptResult<INT> { Ok(remainder(x, y)?) });
    registry
        .declare("%=", Purity::ChangesReceiver, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .function(|x: &mut FLOAT, y: FLOAT| *x = modulo(*x, y))
        .function(|x: &mut FLOAT, y: INT| *x = modulo(*x, y as FLOAT))
        .function(|x: &mut INT, y: INT| -> ScriptResult<()> {
            *x = remainder(*x, y)?;
            Ok(())
        });
}

fn remainder(x: INT, y: INT) -> Result<INT> {
    if y == 0 {
        return Err(
            error!("%: the integer {x} is divided by 0").help("with floats the remainder is nan")
        );
    }
    Ok(Integer::modulo(x, y))
}

fn install_comparisons(registry: &mut Registry) {
    between_floats(pure(registry, "=="), is_near);
    between_floats(pure(registry, "!="), |x, y| !is_near(x, y));
    between_floats(pure(registry, "<"), |x, y| x < y);
    between_floats(pure(registry, "<="), |x, y| x <= y);
    between_floats(pure(registry, ">"), |x, y| x > y);
    between_floats(pure(registry, ">="), |x, y| x >= y);
}

/// Whether two numbers are equal up to a rounding error, which is Rhai's `==`. An infinity is equal
/// to itself only, and NaN to nothing.
fn is_near(x: FLOAT, y: FLOAT) -> bool {
    let scale = if x == 0.0 || y == 0.0 { 1.0 } else { x.abs().max(y.abs()) };
    x == y || (x - y).abs() / scale <= FLOAT::EPSILON
}

fn install_functions(registry: &mut Registry) {
    for (name, function) in Function::ALL {
        let f = function.of_number();
        unary(registry, name).function(move |x: FLOAT| f(x)).function(move |x: INT| f(x as FLOAT));
    }
    for (name, shaping) in PiecewiseLinear::ALL {
        let f = shaping.of_number();
        unary(registry, name)
            .function(move |x: FLOAT| f(x))
            .function(move |x: INT| shaping.of_integer(x));
    }
    pure(registry, ".round")
        .row("of a float: as the function", "let x = 2.5; x.round", "2.0")
        .get(|x: &mut FLOAT| PiecewiseLinear::Round.of_number()(*x));
    for (name, finite) in FloatClass::ALL {
        unary(registry, name)
            .function(move |x: FLOAT| finite.of_number(x))
            .function(move |x: INT| finite.of_number(x as FLOAT));
    }
}

/// Declares a function of one number. The tensor function of the same name documents it.
fn unary<'r>(registry: &'r mut Registry, name: &'static str) -> Declaration<'r> {
    pure(registry, name).parameters(&["x"])
}

fn install_bounds(registry: &mut Registry) {
    for signature in ["min(a, b)", "minimum(a, b)"] {
        between_floats(pure(registry, signature), smaller).function(|x: INT, y: INT| x.min(y));
    }
    for signature in ["max(a, b)", "maximum(a, b)"] {
        between_floats(pure(registry, signature), larger).function(|x: INT, y: INT| x.max(y));
    }
    pure(registry, "clamp(x, min, max)")
        .function(|x: FLOAT, low: Dynamic, high: Dynamic| clamp(&x.into(), &low, &high))
        .function(|x: INT, low: Dynamic, high: Dynamic| clamp(&x.into(), &low, &high));
}

/// The smaller number, or NaN if either is NaN.
fn smaller(x: FLOAT, y: FLOAT) -> FLOAT {
    if x < y || x.is_nan() { x } else { y }
}

/// The larger number, or NaN if either is NaN.
fn larger(x: FLOAT, y: FLOAT) -> FLOAT {
    if x > y || x.is_nan() { x } else { y }
}

/// `x` limited to `low..=high`: an integer if all three are integers.
fn clamp(x: &Dynamic, low: &Dynamic, high: &Dynamic) -> ScriptResult<Dynamic> {
    let read = |value: &Dynamic| match number(value) {
        Some(number @ (Number::Int(_) | Number::Float(_))) => Ok(number),
        _ => Err(error!("clamp: the bounds of a number must be numbers, not {}", describe(value))),
    };
    Ok(match (read(x)?, read(low)?, read(high)?) {
        (Number::Int(x), Number::Int(low), Number::Int(high)) => x.max(low).min(high).into(),
        (x, low, high) => smaller(larger(x.to_f64(), low.to_f64()), high.to_f64()).into(),
    })
}

/// Rounds towards 0.
///
/// # Errors
/// The number is out of the range of integers, or NaN.
fn to_int(x: FLOAT) -> Result<INT> {
    if !(-(2f64.powi(63))..2f64.powi(63)).contains(&x) {
        bail!("to_int: no integer is {}", picture::number(x));
    }
    Ok(x as INT)
}

fn fixed(x: FLOAT, digits: INT) -> Result<String> {
    Ok(picture::fixed(x, picture::digits(digits)?))
}
