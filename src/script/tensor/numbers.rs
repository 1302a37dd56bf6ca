//! Operators and functions of plain numbers that mean what they mean for tensors. Rhai's own
//! differ: its `log` is to base 10, `round` takes halves away from 0, `%` has the sign of the
//! dividend, and no comparison with infinity holds.

use rhai::{Dynamic, Engine, FLOAT, INT};

use super::arguments::number;
use crate::output::picture;
use crate::script::errors::error::ScriptResult;
use crate::script::value::options::describe;
use crate::tensor::Number;
use crate::tensor::elementwise::arithmetic::modulo;
use crate::tensor::elementwise::finite::FloatClass;
use crate::tensor::elementwise::function::Function;
use crate::tensor::elementwise::integer::Integer;
use crate::tensor::elementwise::piecewise::PiecewiseLinear;
use crate::{Result, bail, error};

/// Names that stand for a number wherever no variable has them, in functions too.
const CONSTANTS: [(&str, FLOAT); 3] =
    [("inf", FLOAT::INFINITY), ("nan", FLOAT::NAN), ("pi", std::f64::consts::PI)];

pub fn constant(name: &str) -> Option<FLOAT> {
    CONSTANTS.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

pub fn install(engine: &mut Engine) {
    // Fast ones would never be looked for: Rhai would use its own between numbers.
    engine.set_fast_operators(false);
    #[allow(deprecated)] // Rhai's word for "may change in the future".
    engine.on_var(|name, _, context| match context.scope().get(name) {
        Some(_) => Ok(None),
        None => Ok(constant(name).map(Dynamic::from)),
    });
    install_remainders(engine);
    install_comparisons(engine);
    install_functions(engine);
    install_bounds(engine);
    engine.register_fn("to_int", |x: FLOAT| -> ScriptResult<INT> { Ok(to_int(x)?) });
    engine.register_fn("fixed", |x: FLOAT, digits: INT| -> ScriptResult<String> {
        Ok(fixed(x, digits)?)
    });
    engine.register_fn("fixed", |x: INT, digits: INT| -> ScriptResult<String> {
        Ok(fixed(x as FLOAT, digits)?)
    });
}

/// Registers a function of two numbers, at least one of them a float.
macro_rules! between_floats {
    ($engine:ident, $name:expr, $f:expr) => {{
        let f = $f;
        $engine.register_fn($name, move |x: FLOAT, y: FLOAT| f(x, y));
        $engine.register_fn($name, move |x: INT, y: FLOAT| f(x as FLOAT, y));
        $engine.register_fn($name, move |x: FLOAT, y: INT| f(x, y as FLOAT));
    }};
}

fn install_remainders(engine: &mut Engine) {
    between_floats!(engine, "%", modulo);
    engine.register_fn("%=", |x: &mut FLOAT, y: FLOAT| *x = modulo(*x, y));
    engine.register_fn("%=", |x: &mut FLOAT, y: INT| *x = modulo(*x, y as FLOAT));
    engine.register_fn("%", |x: INT, y: INT| -> ScriptResult<INT> { Ok(remainder(x, y)?) });
    engine.register_fn("%=", |x: &mut INT, y: INT| -> ScriptResult<()> {
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

fn install_comparisons(engine: &mut Engine) {
    between_floats!(engine, "==", is_near);
    between_floats!(engine, "!=", |x: FLOAT, y: FLOAT| !is_near(x, y));
    between_floats!(engine, "<", |x: FLOAT, y: FLOAT| x < y);
    between_floats!(engine, "<=", |x: FLOAT, y: FLOAT| x <= y);
    between_floats!(engine, ">", |x: FLOAT, y: FLOAT| x > y);
    between_floats!(engine, ">=", |x: FLOAT, y: FLOAT| x >= y);
}

/// Whether two numbers are equal but for a rounding error, as Rhai has it. Of infinities only the
/// same are equal, and NaN is equal to none.
fn is_near(x: FLOAT, y: FLOAT) -> bool {
    let scale = if x == 0.0 || y == 0.0 { 1.0 } else { x.abs().max(y.abs()) };
    x == y || (x - y).abs() / scale <= FLOAT::EPSILON
}

fn install_functions(engine: &mut Engine) {
    for (name, function) in Function::ALL {
        let f = function.of_number();
        engine.register_fn(name, move |x: FLOAT| f(x));
        engine.register_fn(name, move |x: INT| f(x as FLOAT));
    }
    for (name, shaping) in PiecewiseLinear::ALL {
        let f = shaping.of_number();
        engine.register_fn(name, move |x: FLOAT| f(x));
        engine.register_fn(name, move |x: INT| shaping.of_integer(x));
    }
    engine.register_get("round", |x: &mut FLOAT| PiecewiseLinear::Round.of_number()(*x));
    for (name, finite) in FloatClass::ALL {
        engine.register_fn(name, move |x: FLOAT| finite.of_number(x));
        engine.register_fn(name, move |x: INT| finite.of_number(x as FLOAT));
    }
}

fn install_bounds(engine: &mut Engine) {
    for name in ["min", "minimum"] {
        between_floats!(engine, name, smaller);
        engine.register_fn(name, |x: INT, y: INT| x.min(y));
    }
    for name in ["max", "maximum"] {
        between_floats!(engine, name, larger);
        engine.register_fn(name, |x: INT, y: INT| x.max(y));
    }
    engine.register_fn("clamp", |x: FLOAT, low: Dynamic, high: Dynamic| {
        clamp(&x.into(), &low, &high)
    });
    engine
        .register_fn("clamp", |x: INT, low: Dynamic, high: Dynamic| clamp(&x.into(), &low, &high));
}

/// The smaller, or NaN if either is.
fn smaller(x: FLOAT, y: FLOAT) -> FLOAT {
    if x < y || x.is_nan() { x } else { y }
}

/// The larger, or NaN if either is.
fn larger(x: FLOAT, y: FLOAT) -> FLOAT {
    if x > y || x.is_nan() { x } else { y }
}

/// Within bounds: an integer where all three are.
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

/// Without what follows the point.
fn to_int(x: FLOAT) -> Result<INT> {
    if !(-(2f64.powi(63))..2f64.powi(63)).contains(&x) {
        bail!("to_int: no integer is {}", picture::number(x));
    }
    Ok(x as INT)
}

fn fixed(x: FLOAT, digits: INT) -> Result<String> {
    Ok(picture::fixed(x, picture::digits(digits)?))
}
